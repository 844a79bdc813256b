//! What a Lua text builds from literals.

use std::cell::RefCell;
use std::rc::Rc;

/// A line and a column, from 1.
pub(super) type Spot = (usize, usize);

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) at: Spot,
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    Nil,
    Bool(bool),
    Number(f64),
    Text(Vec<Part>),
    /// Shared, because Lua's tables are.
    Table(Rc<RefCell<Table>>),
    /// What would have to be run to be known: what it is.
    Unknown(&'static str),
}

#[derive(Clone, PartialEq)]
pub(super) enum Part {
    Literal(String),
    /// An environment variable and what stands in for it.
    Variable(String, Option<String>),
}

/// Keys in the order in which they were written.
#[derive(Default)]
pub(super) struct Table {
    pub(super) list: Vec<Value>,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) at: Spot,
    pub(super) value: Value,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        let field = self.fields.iter().find(|field| field.key == key)?;
        Some(field.value.clone())
    }

    /// Sets a key; a whole number right after the list's end makes the list longer, `nil` takes the
    /// key out.
    pub(super) fn set(&mut self, key: String, at: Spot, value: Value) {
        if let Some(index) = key.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
            if let Some(item) = self.list.get_mut(index) {
                *item = value;
                return;
            }
            if index == self.list.len() {
                self.list.push(value);
                return;
            }
        }
        if matches!(value.kind, Kind::Nil) {
            self.fields.retain(|field| field.key != key);
        } else if let Some(field) = self.fields.iter_mut().find(|field| field.key == key) {
            *field = Field { key, at, value };
        } else {
            self.fields.push(Field { key, at, value });
        }
    }
}

impl Value {
    pub(super) fn table(&self) -> Option<&Rc<RefCell<Table>>> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A text without variables, or a number as Lua writes it.
    pub(super) fn plain(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(parts) => match &parts[..] {
                [] => Some(String::new()),
                [Part::Literal(text)] => Some(text.clone()),
                _ => None,
            },
            Kind::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl Value {
    /// A number, or what Lua takes for one where it needs one.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Number(number) => Some(*number),
            _ => self.plain()?.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }

    /// Whether Lua takes it for true, where that is known.
    pub(super) fn is_true(&self) -> Option<bool> {
        match &self.kind {
            Kind::Nil | Kind::Bool(false) => Some(false),
            Kind::Unknown(_) => None,
            Kind::Text(parts) => match &parts[..] {
                [Part::Variable(_, None)] => None,
                _ => Some(true),
            },
            Kind::Bool(true) | Kind::Number(_) | Kind::Table(_) => Some(true),
        }
    }
}

/// Values are shorter: what is made of itself again and again is not.
const LONGEST: usize = 64 << 10;

/// One text after another, as `..` makes it. `None` if one of them has no text, or if both are too long.
pub(super) fn joined(one: &Value, other: &Value) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for value in [one, other] {
        let more = match &value.kind {
            Kind::Text(parts) => parts.clone(),
            Kind::Number(_) => vec![Part::Literal(value.plain()?)],
            _ => return None,
        };
        for part in more {
            let many = parts.len() >= LONGEST;
            match (parts.last_mut(), part) {
                (Some(Part::Literal(last)), Part::Literal(text)) => {
                    if last.len() + text.len() > LONGEST {
                        return None;
                    }
                    last.push_str(&text);
                }
                _ if many => return None,
                (_, part) => parts.push(part),
            }
        }
    }
    Some(parts)
}
