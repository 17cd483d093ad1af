use std::io;

/// Why reading stopped; the caller adds the path.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The operating system refused.
    Io(io::Error),
    /// The file ends where more was promised.
    End,
    /// The file does not hold what it should.
    Format(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::End } else { Self::Io(error) }
    }
}

impl From<String> for Fault {
    fn from(detail: String) -> Self {
        Self::Format(detail)
    }
}

impl From<&str> for Fault {
    fn from(detail: &str) -> Self {
        Self::Format(detail.to_string())
    }
}
