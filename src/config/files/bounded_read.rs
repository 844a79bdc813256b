//! Files whose length nobody promised: an endless one must not fill the memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// All of a source, or one byte more than `limit` of it, by which its reader sees that it is too long.
///
/// # Errors
/// It cannot be read.
pub fn read_past(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is longer: [`ErrorKind::FileTooLarge`].
pub(crate) fn read_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let bytes = read_past(File::open(path)?, limit)?;
    if bytes.len() > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, repeat};

    use super::{read_file, read_past};

    #[test]
    fn what_has_no_end_is_read_to_the_limit() {
        assert_eq!(read_past(repeat(0), 10).unwrap().len(), 11);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        assert_eq!(read_file(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
