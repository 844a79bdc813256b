//! How much of what was sent on a TCP connection the other side has acknowledged.
//!
//! Linux says so in `tcpi_bytes_acked` of the socket option `TCP_INFO` (tcp(7), since 4.1). No safe crate
//! reads it: rustix and socket2 leave `TCP_INFO` out, and others make its bindings with libclang when they
//! are built. So the one call stands here, in the only package of the workspace that may have `unsafe` code.
//!
//! Deliberately absent: the other fields, and other systems.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};

/// Where the field begins in what the system gives, whose form grows at its end only.
const BEGIN: usize = offset_of!(libc::tcp_info, tcpi_bytes_acked);
/// How long the field is.
const LENGTH: usize = size_of::<u64>();

/// How many bytes of what was sent on a connection the other side's system has acknowledged. The SYN of
/// who connected counts as one. It stands when the connection has ended, be it by a reset.
///
/// That a byte was acknowledged does not say that a program has read it. That it was not does not say
/// that none has, until the other side's FIN is there: that acknowledges all that came before it.
///
/// # Errors
/// This is no TCP socket, or the system is too old to say so.
pub fn bytes_acked(socket: impl AsFd) -> io::Result<u64> {
    let mut info = [0_u8; BEGIN + LENGTH];
    let whole = libc::socklen_t::try_from(info.len()).map_err(|_| io::ErrorKind::Unsupported)?;
    let mut length = whole;
    #[expect(unsafe_code, reason = "no safe crate reads this option")]
    // SAFETY: the descriptor is open as long as `socket` is borrowed. The system writes no more than
    // `length` bytes to `info`, which has so many, and then how many they were to `length`.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    match (length == whole, info.last_chunk::<LENGTH>()) {
        (true, Some(field)) => Ok(u64::from_ne_bytes(*field)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    use super::bytes_acked;

    /// Who connected and who was connected to.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// A request and its answer.
    fn exchange(near: &mut TcpStream, far: &mut TcpStream) {
        near.write_all(b"abcd").unwrap();
        far.read_exact(&mut [0; 4]).unwrap();
        far.write_all(b"ok").unwrap();
        near.read_exact(&mut [0; 2]).unwrap();
    }

    #[test]
    fn it_counts_the_syn_and_what_was_answered() {
        let (mut near, mut far) = pair();
        assert_eq!(bytes_acked(&near).unwrap(), 1);
        for round in 1..4 {
            exchange(&mut near, &mut far);
            assert_eq!(bytes_acked(&near).unwrap(), 1 + 4 * round);
        }
    }

    #[test]
    fn what_comes_after_the_close_is_not_counted() {
        let (mut near, mut far) = pair();
        exchange(&mut near, &mut far);
        drop(far);
        near.write_all(b"efgh").unwrap();
        // The other side answers with a reset, and the end of what it sent still comes first.
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        assert_eq!(bytes_acked(&near).unwrap(), 5);
    }

    #[test]
    fn a_close_acknowledges_what_came_before_it() {
        for _ in 0..100 {
            let (mut near, mut far) = pair();
            exchange(&mut near, &mut far);
            near.write_all(b"efgh").unwrap();
            far.read_exact(&mut [0; 4]).unwrap();
            drop(far);
            assert_eq!(near.read(&mut [0]).unwrap(), 0);
            assert_eq!(bytes_acked(&near).unwrap(), 9);
        }
    }

    #[test]
    fn it_stands_after_a_reset() {
        let (mut near, mut far) = pair();
        exchange(&mut near, &mut far);
        near.write_all(b"efgh").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        far.peek(&mut [0; 4]).unwrap();
        // What was not read makes it a reset.
        drop(far);
        assert!(near.read(&mut [0]).is_err());
        assert!([5, 9].contains(&bytes_acked(&near).unwrap()));
        near.shutdown(Shutdown::Both).unwrap_or_default();
    }

    #[test]
    fn what_is_no_tcp_is_an_error() {
        assert!(bytes_acked(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    }
}
