//! A number that tells two sets of data apart.

use std::hash::Hasher;

use fnv::FnvHasher;

/// FNV-1a, 64 bits: fast, the same on every machine and in every version, and no protection against intent.
pub(crate) struct Fingerprint(FnvHasher);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(FnvHasher::default())
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    /// From the reference vectors of the FNV authors.
    #[test]
    fn it_is_fnv_1a() {
        let hash = |text: &str| {
            let mut hash = super::Fingerprint::new();
            hash.add(text.as_bytes());
            hash.finish()
        };
        assert_eq!(
            [hash(""), hash("a"), hash("foobar")],
            ["cbf29ce484222325", "af63dc4c8601ec8c", "85944171f73967e8"]
        );
    }
}
