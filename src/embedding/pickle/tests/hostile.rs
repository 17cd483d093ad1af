//! Files made by hand, opcode by opcode.

use super::*;
use crate::embedding::pickle::shard::fuzz;

const HEAD: &[u8] = b"\x80\x03";
const VECTOR_TYPE: &[u8] =
    b"cnumpy\ndtype\nX\x02\0\0\0f2K\0K\x01\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb";

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `_reconstruct` and BUILD with one value; `fill` stands between the type and the end of the state.
fn array(shape: &[u8], fill: &[u8]) -> Vec<u8> {
    let make = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R";
    join(&[make, b"(K\x01", shape, VECTOR_TYPE, fill, b"tb"])
}

/// A list of one dict, with these bytes in place of the array.
fn file(embed: &[u8]) -> Vec<u8> {
    join(&[HEAD, b"](}(X\x02\0\0\0idX\x01\0\0\0aX\x05\0\0\0embed", embed, b"ue."])
}

#[test]
fn old_numpy_and_fortran_order_are_read() {
    // Older versions wrote the flags of a dtype as numbers, which this helper does as well.
    for flag in [b"\x88", b"\x89"] {
        let bytes = file(&array(b"K\x02\x85", &join(&[flag, b"C\x04\0<\0@"])));
        let index = index(&bytes).unwrap();
        assert_eq!(vectors(&bytes, &index), [[1.0, 2.0]]);
    }
}

#[test]
fn other_functions_are_named_and_refused() {
    for (call, expected) in [
        (&b"cos\nsystem\nX\x02\0\0\0ls\x85R"[..], "GLOBAL at byte 29, row 0: asks for os.system"),
        (b"c__builtin__\neval\n", "asks for __builtin__.eval"),
        (b"cnumpy.core.multiarray\nscalar\n", "asks for numpy.core.multiarray.scalar"),
        (b"cnumpy\n\x1b[2Jdtype\n", "asks for numpy.\\u{1b}[2Jdtype"),
        (
            b"cnumpy\ndtype\nX\x02\0\0\0f2X\x06\0\0\0latin1\x86R",
            "REDUCE at byte 61, row 0: a call of numpy.dtype with",
        ),
        (b"cnumpy\nndarray\nK\x04\x85R", "a call of numpy.ndarray with a tuple"),
        (b"K\x01K\x02R", "a call of a whole number with a whole number"),
        (b"K\x01K\x02b", "BUILD at byte 33, row 0: a whole number filled with a whole number"),
        (b"cnumpy\nndarray\nK\x01b", "numpy.ndarray filled with a whole number"),
        (b"(ios\nsystem\n", "INST at byte 30, row 0: this opcode"),
        (b"(o", "OBJ at byte 30"),
        (b"\x81", "NEWOBJ at byte 29"),
        (b"\x92", "NEWOBJ_EX at byte 29"),
        (b"\x82\x01", "EXT1 at byte 29"),
        (b"P1\n", "PERSID at byte 29"),
        (b"Q", "BINPERSID at byte 29"),
        (b"\x97", "NEXT_BUFFER at byte 29"),
        (b"\xff", "byte 0xff at byte 29"),
    ] {
        let error = error(&file(call));
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
    let long = join(&[b"c", &[b'a'; 1000]]);
    assert!(error(&file(&long)).contains("a name of more than 255 bytes"));
}

#[test]
fn arrays_must_fit_their_bytes() {
    for (embed, expected) in [
        (array(b"K\x02\x85", b"\x89C\x03\0\0\0"), "an array of 2 f16 values needs 4 bytes, found 3"),
        (array(b"J\xff\xff\xff\x7f\x85", b"\x89C\x02\0\0"), "needs 4294967294 bytes, found 2"),
        (array(b"J\xff\xff\xff\xff\x85", b"\x89C\x02\0\0"), "a tuple of 1 values"),
        (array(b"N", b"\x89C\x02\0\0"), "None as the shape of an array"),
        (array(b"K\x01\x85", b"\x89N"), "a tuple of 5 values"),
        (array(b"K\x01\x85", b"NC\x02\0\0"), "a tuple of 5 values"),
    ] {
        let error = error(&file(&embed));
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
    let empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R";
    assert!(error(&file(empty)).contains("row 0: field \"embed\": an array without values"));
    let state = join(&[b"(K\x01K\x01\x85", VECTOR_TYPE, b"\x89C\x02\0\0t"]);
    let twice = join(&[empty, &state, b"b", &state, b"b"]);
    assert!(error(&file(&twice)).contains("an array that is filled twice"));
}

#[test]
fn the_same_bytes_have_one_type() {
    let wide: Vec<u8> = VECTOR_TYPE.iter().map(|byte| if *byte == b'2' { b'4' } else { *byte }).collect();
    let state =
        |shape: &[u8], dtype: &[u8], bytes: &[u8]| join(&[b"(K\x01", shape, dtype, b"\x89", bytes, b"t"]);
    let first = state(b"K\x02\x85", VECTOR_TYPE, b"C\x04\0\0\0\0q\0");
    let second = state(b"K\x01\x85", &wide, b"h\0");
    assert!(error(&file(&join(&[&first, &second]))).contains("the same bytes as f16 and as f32"));
}

#[test]
fn claims_are_checked_before_anything_is_allocated() {
    let huge = u64::MAX.to_le_bytes();
    for (opcode, name) in [(0x8d, "BINUNICODE8"), (0x8e, "BINBYTES8"), (0x96, "BYTEARRAY8"), (0x95, "FRAME")]
    {
        let error = error(&file(&join(&[&[opcode], &huge])));
        let expected = format!("{name} at byte 29, row 0: declares {} bytes", u64::MAX);
        assert!(error.contains(&expected), "{error}");
    }
    for (opcode, name) in [(b'X', "BINUNICODE"), (b'B', "BINBYTES")] {
        let error = error(&file(&join(&[&[opcode], &[0xff; 4]])));
        assert!(error.contains(&format!("{name} at byte 29, row 0: declares 4294967295 bytes")), "{error}");
    }
}

#[test]
fn the_memo_grows_with_the_file_only() {
    let error_of = |opcodes: &[u8]| error(&join(&[HEAD, b"]", opcodes, b"."]));
    assert!(error_of(b"r\xff\xff\xff\xff").contains("LONG_BINPUT at byte 3: object 4294967295 of the memo"));
    assert!(error_of(&[0x94; 1000]).contains("MEMOIZE at byte"));
    assert!(error_of(b"h\0").contains("BINGET at byte 3: object 0 of the memo, which is not there"));
    assert!(error_of(b"q\x07h\x03").contains("object 3 of the memo, which is not there"));
    assert!(error_of(b"j\xff\xff\xff\xff").contains("LONG_BINGET at byte 3"));
    // A gap is harmless.
    assert!(error_of(b"q\x3fh\x3f").contains("an unfinished pickle: 2 on the stack"));
}

#[test]
fn stack_and_marks_are_bounded() {
    let error_of = |opcodes: &[u8]| error(&join(&[HEAD, opcodes]));
    assert!(error_of(&[b'('; 1000]).contains("MARK at byte 66: nested more than 64 deep"));
    assert!(error_of(&vec![b'N'; 5 << 20]).contains("more than 4194304 values on the stack"));
    for (opcodes, expected) in [
        (&b"R"[..], "REDUCE at byte 2: too few values on the stack"),
        (b"b", "BUILD at byte 2"),
        (b"q\0", "BINPUT at byte 2"),
        (b"](q\0", "BINPUT at byte 4"),
        (b"]a", "APPEND at byte 3: needs the list of rows"),
        (b"](Na", "APPEND at byte 5: needs the list of rows"),
        (b"]}(NNs", "SETITEM at byte 7, row 0: needs a dict"),
        (b"](\x85", "TUPLE1 at byte 4: too few values on the stack"),
        (b"e", "APPENDS at byte 2: needs a MARK"),
        (b"(e", "APPENDS at byte 3: needs the list of rows"),
        (b"t", "TUPLE at byte 2: needs a MARK"),
        (b"u", "SETITEMS at byte 2: needs a MARK"),
        (b"(u", "SETITEMS at byte 3: needs a dict"),
        (b"](Nu", "SETITEMS at byte 5: needs a dict"),
        (b"]}(Nu", "SETITEMS at byte 6, row 0: a key without a value"),
        (b"]}s", "SETITEM at byte 4, row 0: needs a dict"),
        (b"\x93", "STACK_GLOBAL at byte 2"),
        (b"](N.", "STOP at byte 5: an unfinished pickle: 2 on the stack and 1 open marks"),
        (b"](.", "STOP at byte 4: an unfinished pickle"),
        (b".", "STOP at byte 2: an unfinished pickle"),
        (b"]\x80\x03", "PROTO at byte 3: a second start"),
    ] {
        let error = error_of(opcodes);
        assert!(error.contains(expected), "expected {expected:?}, found {error:?}");
    }
    assert!(error(b"\x80\x06].").contains("PROTO at byte 0: expected protocol 2 to 5, found 6"));
    assert_eq!(error(b""), "the file is empty");
}

#[test]
fn containers_cannot_hold_themselves() {
    let list = join(&[HEAD, b"]q\0(h\0e."]);
    assert!(error(&list).contains("APPENDS at byte 8, row 0: expected a dict, found a list"));
    let dict = join(&[HEAD, b"]}q\0(X\x02\0\0\0meh\0ue."]);
    assert!(error(&dict).contains("field \"me\": expected text"));
    let two = join(&[HEAD, b"](}q\0}q\x01h\0(X\x01\0\0\0aNue."]);
    assert!(error(&two).contains("a dict that gets fields after another one has begun"));
    let two = join(&[HEAD, b"](}q\0}q\x01h\0(X\x01\0\0\0ah\x01ue."]);
    assert!(
        error(&two).contains("field \"a\": expected text, a number, a truth value or None, found a dict")
    );
}

#[test]
fn a_dict_may_stand_in_the_list_twice() {
    let bytes = join(&[
        HEAD,
        b"](}q\0(X\x02\0\0\0idX\x01\0\0\0aX\x05\0\0\0embed",
        &array(b"K\x01\x85", b"\x89C\x02\0<"),
        b"uh\0e.",
    ]);
    assert_eq!(index(&bytes).unwrap().table.offsets.len(), 2);
    assert_eq!(fuzz(&bytes), Some(2));
}

#[test]
fn keys_stay_within_limits() {
    let long = join(&[b"X\x2c\x01\0\0", &[b'k'; 300], b"N"]);
    assert!(
        error(&join(&[HEAD, b"](}(", &long, b"ue."])).contains("a key of 300 bytes, expected at most 255")
    );
    let broken = b"X\x01\0\0\0\xffN";
    assert!(error(&join(&[HEAD, b"](}(", broken, b"ue."])).contains("a key that is not UTF-8"));
}

#[test]
fn a_row_that_repeats_one_long_text_does_not_fill_the_memory() {
    let text = vec![b'x'; 5 << 20];
    let length = (text.len() as u32).to_le_bytes();
    let mut fields = join(&[b"X\x01\0\0\0aX", &length, &text, b"q\x01"]);
    for key in b'b'..=b'e' {
        fields.extend_from_slice(&join(&[b"X\x01\0\0\0", &[key], b"h\x01"]));
    }
    let embed = array(b"K\x01\x85", b"\x89C\x02\0<");
    let bytes = file(&join(&[&embed, &fields]));
    let index = index(&bytes).unwrap();
    let mut records =
        crate::embedding::pickle::records::Records::new(&index, Source::new(Cursor::new(&bytes)).unwrap())
            .unwrap();
    let error = format!("{:?}", records.next().unwrap().unwrap_err());
    assert!(error.contains("more than 16777216 bytes of text in one row"), "{error}");
}

#[test]
fn large_vectors_are_skipped() {
    // Far longer than the window, so that the reader seeks.
    let values = vec![0x3c; 2 * 300_000];
    let length = (values.len() as u32).to_le_bytes();
    let fill = join(&[b"\x89B", &length, &values]);
    let bytes = file(&array(b"J\xe0\x93\x04\0\x85", &fill));
    let index = index(&bytes).unwrap();
    assert_eq!(index.table.dim, 300_000);
    let offset = index.table.offsets[0] as usize;
    assert_eq!(&bytes[offset..offset + values.len()], values);
    assert_eq!(fuzz(&bytes), Some(1));
}
