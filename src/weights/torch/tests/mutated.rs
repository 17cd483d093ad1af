//! Files of PyTorch with some bytes changed.

use super::*;
use crate::weights::gguf::testing::cases;
use crate::weights::torch::TorchFile;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

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

    /// The same where the arrays of a file are read one by one, and again.
    #[test]
    fn mutated_files_never_panic(
        name in prop_oneof![Just("f16.bin"), Just("checkpoint.bin"), Just("deflated.bin")],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = fs::read(fixture(name)).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mutated.bin");
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = TorchFile::open(&path) {
            for name in file.names().iter().cycle().take(2 * file.names().len()) {
                if let (Ok(shape), Ok(array)) = (file.shape(name), file.read(name)) {
                    prop_assert_eq!(array.values.len(), shape.iter().product::<usize>());
                }
            }
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
