//! Numbers and texts as Lua writes them.

use full_moon::tokenizer::{StringLiteralQuoteType, TokenReference, TokenType};

use super::value::{Kind, Part};

pub(super) fn number(token: &TokenReference) -> Kind {
    let text = token.token().to_string().to_ascii_lowercase();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(f64::from),
        None => text.parse().ok(),
    };
    number
        .filter(|number: &f64| number.is_finite())
        .map_or(Kind::Unknown("this number"), Kind::Number)
}

pub(super) fn string(token: &TokenReference) -> Kind {
    let TokenType::StringLiteral { literal, quote_type, .. } = token.token_type() else {
        return Kind::Unknown("this text");
    };
    if *quote_type == StringLiteralQuoteType::Brackets {
        let text = literal.strip_prefix("\r\n").or(literal.strip_prefix('\n'));
        return Kind::Text(vec![Part::Literal(text.unwrap_or(literal).to_owned())]);
    }
    unescaped(literal).map_or(Kind::Unknown("a text with unusual escapes"), |text| {
        Kind::Text(vec![Part::Literal(text)])
    })
}

/// Lua 5.1's escapes and LuaJIT's `\xXX` and `\z`. `None`: a wrong one, or bytes that are not UTF-8.
fn unescaped(literal: &str) -> Option<String> {
    let mut out = Vec::with_capacity(literal.len());
    let mut rest = literal.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let [escape, after @ ..] = rest else { return None };
        rest = after;
        match escape {
            b'n' | b'\n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'v' => out.push(11),
            b'f' => out.push(12),
            b'\\' | b'"' | b'\'' => out.push(*escape),
            b'z' => rest = rest.trim_ascii_start(),
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            b'0'..=b'9' => {
                let more = rest.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
                let mut code = u32::from(escape - b'0');
                for digit in &rest[..more] {
                    code = code * 10 + u32::from(digit - b'0');
                }
                out.push(u8::try_from(code).ok()?);
                rest = &rest[more..];
            }
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}
