//! Nothing: this package is built along with the library, and what it depends on then has the features that the program and other
//! backends ask for. The reason is in the workspace's `Cargo.toml`.
