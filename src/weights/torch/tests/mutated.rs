//! Files of PyTorch with some bytes changed.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A changed byte is an error, or stands where nothing is read.
    #[test]
    fn mutated_archives_never_panic(
        name in prop_oneof![Just("f16.bin"), Just("checkpoint.bin"), Just("deflated.bin")],
        at: prop::sample::Index,
        value: u8,
    ) {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(arrays) = read(&bytes) {
            let whole: usize = arrays.iter().map(|array| array.values.len()).sum();
            prop_assert!(whole <= 26);
        }
    }

    /// Pickles outside an archive have no checksum that keeps changes away from the machine.
    #[test]
    fn mutated_pickles_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut zip = zip::ZipArchive::new(Cursor::new(fs::read(fixture("checkpoint.bin")).unwrap())).unwrap();
        let mut pickle = Vec::new();
        std::io::copy(&mut zip.by_name("archive/data.pkl").unwrap(), &mut pickle).unwrap();
        for (at, value) in changes {
            let at = at.index(pickle.len());
            pickle[at] = value;
        }
        if let Ok(entries) = entries(&pickle) {
            for entry in entries {
                if let Item::Tensor(tensor) = entry.value
                    && let Ok(view) = View::of(&tensor)
                {
                    prop_assert!(view.offset + view.reach <= tensor.storage.count as u64);
                }
            }
        }
    }
}
