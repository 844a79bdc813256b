//! Cases from recordings of Dify 1.5.0, the limits, and the law that chunks do not matter.

use proptest::prelude::{Strategy, prop, prop_assert_eq, proptest};

use super::scanner::MAX_HEADERS;
use super::{MultipartError, MultipartScanner};

const TYPE: &str = "multipart/form-data; boundary=----recboundary7MA4YWxk";

const PNG: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"c.png\"\r\n\
                   Content-Type: image/png\r\n\r\n\u{89}PNG\r\n\u{1a}\n\0\0\0\rIHDR";

const USER: &str = "Content-Disposition: form-data; name=\"user\"\r\n\r\nalice";

fn scan(kind: &str, chunks: &[&[u8]]) -> Result<Option<String>, MultipartError> {
    let mut scan = MultipartScanner::new(kind)?;
    chunks.iter().try_for_each(|chunk| scan.feed(chunk))?;
    Ok(scan.finish()?.user)
}

fn form(parts: &[&str]) -> String {
    let parts: String =
        parts.iter().map(|part| format!("------recboundary7MA4YWxk\r\n{part}\r\n")).collect();
    format!("{parts}------recboundary7MA4YWxk--\r\n")
}

fn user(parts: &[&str]) -> Result<Option<String>, MultipartError> {
    scan(TYPE, &[form(parts).as_bytes()])
}

fn field(value: &str) -> String {
    format!("Content-Disposition: form-data; name=\"user\"\r\n\r\n{value}")
}

#[test]
fn the_user_is_found_before_and_after_a_file() {
    for parts in [&[USER, PNG][..], &[PNG, USER], &[USER], &[PNG, USER, PNG], &["\r\nx", USER]] {
        assert_eq!(user(parts), Ok(Some("alice".into())));
    }
    assert_eq!(user(&[PNG]), Ok(None));
    assert_eq!(user(&[]), Ok(None));
}

#[test]
fn the_first_of_several_counts_even_if_it_is_empty() {
    let bob = field("bob");
    assert_eq!(user(&[&bob, USER]), Ok(Some("bob".into())));
    assert_eq!(user(&[&field(""), USER]), Ok(None));
}

#[test]
fn a_file_named_user_is_not_the_field() {
    for disposition in [
        "form-data; name=\"user\"; filename=\"a.txt\"",
        "form-data; filename=a.txt; name=user",
        "form-data; name=\"user\"; filename*=UTF-8''a.txt",
        "form-data; name=\"user\"; filename=\"\"",
        "form-data; name=\"user2\"",
        "form-data; name=\"us\\er\"",
        "form-data; xname=\"user\"",
        "form-data; x=\"; name=user\"",
        "form-data; name=\"user",
        "form-data",
    ] {
        let part = format!("Content-Disposition: {disposition}\r\n\r\nx");
        assert_eq!(user(&[&part]), Ok(None), "{disposition}");
    }
}

#[test]
fn parameters_are_read_in_all_their_spellings() {
    for headers in [
        "content-disposition: FORM-DATA; NAME=user",
        "Content-Type: text/plain\r\nContent-Disposition:form-data;name=\"user\"",
        "Content-Disposition: form-data;\r\n\tname=\"user\"",
        "Content-Disposition: form-data; x=\"a\\\";b\"; name=\"user\"; y",
        "Content-Disposition: form-data; name=user ; y=1",
    ] {
        let part = format!("{headers}\r\n\r\nx");
        assert_eq!(user(&[&part]), Ok(Some("x".into())), "{headers}");
    }
}

#[test]
fn content_that_looks_like_a_part_does_not_mislead() {
    let file = |content: &str| {
        format!("Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n{content}")
    };
    for content in [
        "--recboundary7MA4YWxk\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\neve",
        "a------recboundary7MA4YWxk\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\neve",
        "\r\n------recboundary7MA4YWxkX\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\neve",
        "\r\n------recboundary7MA4YWxk-X",
        "\r\n------recboundary7MA4YWx",
    ] {
        assert_eq!(user(&[&file(content), USER]), Ok(Some("alice".into())), "{content}");
        assert_eq!(user(&[&file(content)]), Ok(None), "{content}");
    }
    let spaces = format!("\r\n------recboundary7MA4YWxk{}\r\nx", " ".repeat(257));
    assert_eq!(user(&[&file(&spaces), USER]), Ok(Some("alice".into())));
}

#[test]
fn lines_may_end_with_lf_or_cr_and_blanks_may_follow_a_boundary() {
    let body = form(&[PNG, USER]);
    for (from, to) in [("\r\n", "\n"), ("\r\n", "\r"), ("YWxk\r\n", "YWxk \t\r\n")] {
        let body = body.replace(from, to);
        assert_eq!(scan(TYPE, &[body.as_bytes()]), Ok(Some("alice".into())), "{to:?}");
    }
    let framed = format!("preamble\r\n{body}epilogue ------recboundary7MA4YWxk");
    assert_eq!(scan(TYPE, &[framed.as_bytes()]), Ok(Some("alice".into())));
}

#[test]
fn line_ends_inside_the_value_belong_to_it() {
    assert_eq!(user(&[&field("a\r\nb\n\r\n")]), Ok(Some("a\r\nb\n\r\n".into())));
    assert_eq!(user(&[&field("用户-é")]), Ok(Some("用户-é".into())));
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    let head = b"--b\r\nContent-Disposition: form-data; name=user\r\n\r\n";
    let body = [&head[..], b"a\xffb", b"\r\n--b--"].concat();
    assert_eq!(scan("multipart/form-data; boundary=b", &[&body]), Ok(Some("a\u{fffd}b".into())));
}

#[test]
fn the_content_type_must_be_a_form_with_a_boundary() {
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for (kind, error) in [
        ("application/json", MultipartError::NotMultipart),
        ("multipart/mixed; boundary=x", MultipartError::NotMultipart),
        ("multipart/form-data", MultipartError::Boundary),
        ("multipart/form-data; boundary=", MultipartError::Boundary),
        ("multipart/form-data; boundary=\"\"", MultipartError::Boundary),
        ("multipart/form-data; boundary=\u{e9}", MultipartError::Boundary),
        (&long, MultipartError::Boundary),
    ] {
        assert_eq!(MultipartScanner::new(kind).unwrap_err(), error, "{kind}");
    }
    let body = b"--a:b c\r\nContent-Disposition: form-data; name=user\r\n\r\nx\r\n--a:b c--";
    let kind = "Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a:b c\"";
    assert_eq!(scan(kind, &[body]), Ok(Some("x".into())));
    let longest = long.strip_suffix('b').unwrap();
    assert!(MultipartScanner::new(longest).is_ok());
}

#[test]
fn a_body_without_any_boundary_is_left_to_dify() {
    assert_eq!(scan("multipart/form-data; boundary=xyz", &[b"garbage"]), Ok(None));
    assert_eq!(scan("multipart/form-data; boundary=xyz", &[]), Ok(None));
}

#[test]
fn an_end_before_the_closing_boundary_is_an_error() {
    let body = form(&[USER, PNG]);
    let first = "------recboundary7MA4YWxk\r\n".len();
    for cut in first..body.len() - 2 {
        let result = scan(TYPE, &[&body.as_bytes()[..cut]]);
        assert!(matches!(result, Err(MultipartError::Malformed(_))), "{cut}: {result:?}");
    }
}

#[test]
fn limits_hold_and_say_what_they_are() {
    for letter in ["u", "😀"] {
        assert_eq!(user(&[&field(&letter.repeat(255))]), Ok(Some(letter.repeat(255))));
        assert_eq!(user(&[&field(&letter.repeat(256))]), Err(MultipartError::UserTooLong));
    }
    let part = format!("X: {}\r\n\r\n", "x".repeat(MAX_HEADERS));
    let error = user(&[&part]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The request body is not valid multipart/form-data: the headers of a part are larger than 16 KiB."
    );
    let mut scan = MultipartScanner::new(TYPE).unwrap();
    scan.feed(format!("------recboundary7MA4YWxk\r\n{}", field("")).as_bytes()).unwrap();
    for _ in 0..64 {
        if scan.feed(&[b'u'; 4096]).is_err() {
            break;
        }
    }
    assert_eq!(scan.feed(b"x"), Err(MultipartError::UserTooLong));
    assert!(scan.value.capacity() < 4096 && scan.carry.capacity() < 4096);
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "--b",
        "--b\r\n",
        "\r\n--b\r\n",
        "\r\n--b--\r\n",
        "\n--b\n",
        "\r--b\r",
        "--b-",
        "\r\n--b \t",
        "\r\n--b  \r\n",
        "\r",
        "\n",
        "\r\n",
        "-",
        "b",
        "Content-Disposition: form-data; name=user",
        "\r\n--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n",
        "; filename=x",
        "\r\n\r\n",
        "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n",
        "alice",
        "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
    ]);
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn chunks_of_any_size_give_what_the_whole_gives(
        body in pieces(),
        cuts in prop::collection::vec(1_usize..60, 1..6),
    ) {
        let kind = "multipart/form-data; boundary=b";
        let mut chunks = Vec::new();
        let mut rest = body.as_bytes();
        for cut in cuts.iter().cycle().take(body.len()) {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        let whole = scan(kind, &[body.as_bytes()]);
        prop_assert_eq!(&scan(kind, &chunks), &whole, "{:?}", body);
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        prop_assert_eq!(&scan(kind, &bytes), &whole, "{:?}", body);
    }
}
