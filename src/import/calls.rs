//! Functions whose result is known from their arguments alone. None of them is run: what they give for
//! literals is worked out here.

use super::value::{Joined, Kind, Part, Value};

const UNKNOWN: Kind = Kind::Unknown("a function call");

/// What a function gives, by its full name; a method of a text is a function of `string`.
pub(super) fn result(function: &str, arguments: &[Value]) -> Kind {
    match (function, arguments) {
        ("os.getenv", [name]) => variable(name).unwrap_or(UNKNOWN),
        ("tonumber" | "tostring", [value]) => match &value.kind {
            kind @ (Kind::Text(_) | Kind::Number(_)) => kind.clone(),
            _ => UNKNOWN,
        },
        ("string.format", [format, values @ ..]) => formatted(format, values).unwrap_or(UNKNOWN),
        ("table.concat", [list, rest @ ..]) => concatenated(list, rest).unwrap_or(UNKNOWN),
        ("string.len", [text]) => text.plain().map_or(UNKNOWN, |text| number(text.len())),
        (name, [text, rest @ ..]) if name.starts_with("string.") => {
            let Some(text) = text.plain() else { return UNKNOWN };
            of_text(name, &text, rest).map_or(UNKNOWN, literal)
        }
        (name, [value]) => of_number(name, value).map_or(UNKNOWN, Kind::Number),
        _ => UNKNOWN,
    }
}

fn literal(text: String) -> Kind {
    Kind::Text(vec![Part::Literal(text)])
}

fn number(count: usize) -> Kind {
    u32::try_from(count).map_or(UNKNOWN, |count| Kind::Number(f64::from(count)))
}

fn variable(name: &Value) -> Option<Kind> {
    let name = name.plain()?;
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then(|| Kind::Text(vec![Part::Variable(name, None)]))
}

fn of_text(function: &str, text: &str, rest: &[Value]) -> Option<String> {
    /// A text for a configuration is shorter.
    const LONGEST: usize = 4096;
    match (function, rest) {
        ("string.lower", []) => Some(text.to_ascii_lowercase()),
        ("string.upper", []) => Some(text.to_ascii_uppercase()),
        ("string.rep", [times]) => {
            let times = usize::try_from(whole(times)?).ok()?;
            (text.len().checked_mul(times)? <= LONGEST).then(|| text.repeat(times))
        }
        ("string.sub", [from, to @ ..]) => {
            let length = i64::try_from(text.len()).ok()?;
            // From 1; what is negative counts from the end.
            let place = |at: i64| if at < 0 { length + at + 1 } else { at };
            let from = place(whole(from)?).max(1);
            let to = match to {
                [] => length,
                [to] => place(whole(to)?).min(length),
                _ => return None,
            };
            let range = usize::try_from(from - 1).ok()?..usize::try_from(to.max(from - 1)).ok()?;
            text.get(range).map(str::to_owned)
        }
        ("string.gsub", [pattern, with]) => {
            let (pattern, with) = (pattern.plain()?, with.plain()?);
            // Signs of a pattern mean more than themselves.
            let is_plain = !pattern.is_empty() && !pattern.contains(|c| "^$()%.[]*+-?".contains(c));
            if !is_plain || with.contains('%') {
                return None;
            }
            let count = text.matches(&pattern).count();
            let added = count.checked_mul(with.len())?;
            let length = (text.len() - count * pattern.len()).checked_add(added)?;
            (length <= LONGEST).then(|| text.replace(&pattern, &with))
        }
        _ => None,
    }
}

fn of_number(function: &str, value: &Value) -> Option<f64> {
    let number = value.number()?;
    match function {
        "math.floor" => Some(number.floor()),
        "math.ceil" => Some(number.ceil()),
        "math.abs" => Some(number.abs()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    let number = value.number().filter(|number| number.fract() == 0.0 && number.abs() < 1e9)?;
    format!("{number:.0}").parse().ok()
}

/// `%s` and `%d`, the latter also with a width, and `%%`.
fn formatted(format: &Value, values: &[Value]) -> Option<Kind> {
    let format = format.plain()?;
    let mut values = values.iter();
    let mut all = Joined::default();
    let mut rest = format.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (width, after) = after.split_at(digits);
        let directive = after.chars().next()?;
        rest = &after[directive.len_utf8()..];
        let next = match directive {
            '%' => literal("%".to_owned()),
            's' if width.is_empty() => values.next()?.kind.clone(),
            'd' | 'i' => {
                let number = whole(values.next()?)?;
                let most: usize = if width.is_empty() { 0 } else { width.parse().ok()? };
                let most = most.min(64);
                literal(match width.starts_with('0') {
                    true => format!("{number:0most$}"),
                    false => format!("{number:most$}"),
                })
            }
            _ => return None,
        };
        for kind in [literal(before.to_owned()), next] {
            all.push(&Value { at: (0, 0), kind })?;
        }
    }
    let last = Value { at: (0, 0), kind: literal(rest.to_owned()) };
    all.push(&last)?;
    Some(all.kind())
}

fn concatenated(list: &Value, rest: &[Value]) -> Option<Kind> {
    let between = match rest {
        [] => String::new(),
        [between] => between.plain()?,
        _ => return None,
    };
    let between = Value { at: (0, 0), kind: literal(between) };
    let mut all = Joined::default();
    for (index, item) in list.table()?.borrow().list.iter().enumerate() {
        if index > 0 {
            all.push(&between)?;
        }
        all.push(item)?;
    }
    Some(all.kind())
}
