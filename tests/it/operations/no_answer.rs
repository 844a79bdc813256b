//! What the commands say, and how they end, where no gateway answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};

/// Something that reads a request of each connection, says this and closes.
fn listener(says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if !says.is_empty() {
                let _ = stream.read(&mut [0; 4096]);
            }
            let _ = stream.write_all(says.as_bytes());
        }
    });
    address
}

fn difygate(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        Command::new(env!("CARGO_BIN_EXE_difygate")).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn where_no_gateway_answers_the_exit_code_is_3_and_5_where_it_refuses() {
    for (says, code, words) in [
        ("", 3, "admin.allow"),
        ("SSH-2.0-OpenSSH_9.6\r\n", 3, "admin.allow"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{]", 3, "as no gateway"),
        ("HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 5, "token"),
        ("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 5, "token"),
    ] {
        let address = listener(says).to_string();
        let asked = difygate(&["status", "--admin", &address]);
        assert_eq!(asked.0, Some(code), "{says}: {}", asked.1);
        assert!(asked.1.contains(words), "{says}: {}", asked.1);
    }
}

#[test]
fn what_cannot_be_sent_is_a_wrong_command_line() {
    let address = listener("").to_string();
    let (code, said) = difygate(&["status", "--admin", &address, "--admin-token", "a\nsecret"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the admin token has") && !said.contains("secret"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let away = folder.path().join("token");
    let away = away.to_str().unwrap();
    let (code, said) = difygate(&["explain", "--admin", &address, "--token-file", away]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("cannot read {away}")), "{said}");
}

#[test]
fn a_port_that_takes_connections_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (code, said) = difygate(&["conversations", "list", "--admin", &address]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("no answer from the gateway at"), "{said}");
}
