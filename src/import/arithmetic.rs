//! What operators make of values that are known.

use full_moon::ast::{BinOp, UnOp};

use super::value::{Kind, Value};

pub(super) fn unary(operator: &UnOp, value: &Value) -> Kind {
    match (operator, value.number(), &value.kind) {
        (UnOp::Minus(_), Some(number), _) => Kind::Number(-number),
        (UnOp::Not(_), ..) => {
            value.is_true().map_or(Kind::Unknown("a choice"), |is_true| Kind::Bool(!is_true))
        }
        (UnOp::Hash(_), _, Kind::Table(table)) => length(table.borrow().list.len()),
        (UnOp::Hash(_), ..) => {
            value.plain().map_or(Kind::Unknown("a length"), |text| length(text.len()))
        }
        _ => Kind::Unknown("arithmetic"),
    }
}

fn length(length: usize) -> Kind {
    u32::try_from(length).map_or(Kind::Unknown("a length"), |length| Kind::Number(length.into()))
}

pub(super) fn arithmetic(one: f64, operator: &BinOp, other: f64) -> Kind {
    let result = match operator {
        BinOp::Plus(_) => one + other,
        BinOp::Minus(_) => one - other,
        BinOp::Star(_) => one * other,
        BinOp::Slash(_) => one / other,
        // The sign is that of the divisor.
        BinOp::Percent(_) => one - (one / other).floor() * other,
        BinOp::Caret(_) => one.powf(other),
        _ => return Kind::Unknown("a comparison"),
    };
    if result.is_finite() { Kind::Number(result) } else { Kind::Unknown("arithmetic") }
}
