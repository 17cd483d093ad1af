//! Pickles made by hand, opcode by opcode.

use super::*;

#[test]
fn nothing_is_executed_and_what_is_asked_for_is_named() {
    for (value, expected) in [
        (
            &b"cos\nsystem\nX\x02\0\0\0ls\x85R"[..],
            "GLOBAL at byte 17: asks for os.system, which no tensor needs",
        ),
        (b"cposix\nsystem\n", "asks for posix.system"),
        (b"c__builtin__\neval\n", "asks for __builtin__.eval"),
        (b"ctorch\nload\n", "asks for torch.load"),
        (b"ctorch\n\x1b[2Jload\n", "asks for torch.\\u{1b}[2Jload"),
        (b"X\x02\0\0\0osX\x06\0\0\0system\x93", "STACK_GLOBAL at byte 35: asks for os.system"),
        (b"K\x01K\x02\x93", "STACK_GLOBAL at byte 21: expected text as module and name"),
        (b"ccollections\nOrderedDict\nK\x01\x85R", "a call of OrderedDict with a tuple"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "a call of _rebuild_tensor_v2 with a tuple"),
        (b"ctorch\nFloatStorage\n)R", "a call of a class of storages with a tuple"),
        (b"K\x01K\x02R", "a call of a whole number with a whole number"),
        (b"K\x01K\x02b", "a whole number filled with a whole number"),
        (b"X\x01\0\0\0aQ", "BINPERSID at byte 23: expected the name of a storage, found text"),
        (b"P1\n", "PERSID at byte 17: this opcode"),
        (b"(ios\nsystem\n", "INST at byte 18"),
        (b"\x81", "NEWOBJ at byte 17"),
        (b"\x82\x01", "EXT1 at byte 17"),
        (b"\xff", "byte 0xff at byte 17"),
    ] {
        let error = error_of(&with_storage(&dict(&[value.to_vec()])));
        assert!(error.starts_with("data.pkl: ") && error.contains(expected), "{error}");
    }
}

fn pickle_error(opcodes: &[u8]) -> String {
    entries(&join(&[b"\x80\x02", opcodes])).err().expect("an error")
}

#[test]
fn broken_pickles_are_errors() {
    for (opcodes, expected) in [
        (&b""[..], "the pickle ends at byte 2"),
        (b".", "STOP at byte 2: an unfinished pickle: 0 on the stack and 0 open marks"),
        (b"}(.", "an unfinished pickle: 1 on the stack and 1 open marks"),
        (b"].", "expected a dict of tensors, found a list"),
        (b"}..", "bytes after the end of the pickle: 1"),
        (b"t", "TUPLE at byte 2: needs a MARK"),
        (b"(\x85", "TUPLE1 at byte 3: too few values on the stack"),
        (b"e", "APPENDS at byte 2: needs a MARK"),
        (b"(e", "APPENDS at byte 3: too few values"),
        (b"}(Ne", "expected a list, found a dict"),
        (b"](NNu", "expected a dict, found a list"),
        (b"}(Nu", "a key without a value"),
        (b"NNs", "SETITEM at byte 4: too few values"),
        (b"h\0", "object 0 of the memo, which is not there"),
        (b"Nr\xff\xff\xff\xff", "object 4294967295 of the memo, expected less than 65 up to here"),
        (b"q\0", "BINPUT at byte 2: too few values"),
        (b"\x80\x02", "PROTO at byte 2: a second start"),
        (b"X\xff\xff\xff\xff", "declares 4294967295 bytes, and the pickle ends after 0"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "declares 18446744073709551615 bytes"),
        (b"\x95\xff\xff\xff\xff\xff\xff\xff\xff", "declares 18446744073709551615 bytes"),
        (b"ctorch", "GLOBAL at byte 2: the pickle ends at byte 8"),
        (
            b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x02\0\0\0..X\0\0\0\0K\x01t",
            "as the key of a storage, found \"..\"",
        ),
    ] {
        let error = pickle_error(opcodes);
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
    assert!(pickle_error(&[b'('; 100]).contains("nested more than 64 deep"));
    assert!(pickle_error(&vec![b'N'; (1 << 20) + 1]).contains("more than 1048576 values on the stack"));
    assert!(pickle_error(&[&b"N"[..], &[0x94; 200]].concat()).contains("MEMOIZE at byte"));
    assert!(pickle_error(&[b'c', b'a'].repeat(300)).contains("a name of more than 255 bytes"));
    assert!(entries(b"\x80\x01}.").err().unwrap().contains("protocol 2 to 5"));
    assert!(entries(b"").is_err());
}

#[test]
fn what_stands_beside_tensors_is_passed_over() {
    let long = join(&[b"X", &2000_u32.to_le_bytes(), &[b'k'; 2000], b"N"]);
    let others = join(&[&long, b"K\x07N", &text("huge"), b"\x8a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09"]);
    let bytes = join(&[&text("bytes"), b"C\x02ab", &text("text"), b"X\x01\0\0\0\xff", b"X\x01\0\0\0\xffN"]);
    let entries = entries(&join(&[b"\x80\x02}(", &others, &bytes, b"u."])).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| match entry.value {
            Item::Tensor(_) | Item::Texts(_) => panic!("a tensor"),
            Item::Other(what) => (&*entry.key, what),
        })
        .collect();
    let huge = "a whole number of more than 64 bits";
    assert_eq!(found, [("huge", huge), ("bytes", "bytes"), ("text", "text that is not UTF-8")]);
    let error = error_of(&with_storage(&dict(&[b"]".to_vec()])));
    assert!(error.contains("\"0.weight\": expected a tensor, found a list"), "{error}");
}
