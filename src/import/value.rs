//! What a Lua text builds from literals.

use std::cell::RefCell;
use std::collections::HashMap;
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
    /// Where in `fields` each key is.
    places: HashMap<String, usize>,
}

#[derive(Clone)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) at: Spot,
    pub(super) value: Value,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        Some(self.fields[*self.places.get(key)?].value.clone())
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
            if let Some(place) = self.places.remove(&key) {
                self.fields.remove(place);
                self.places.values_mut().filter(|at| **at > place).for_each(|at| *at -= 1);
            }
        } else if let Some(place) = self.places.get(&key) {
            self.fields[*place] = Field { key, at, value };
        } else {
            self.places.insert(key.clone(), self.fields.len());
            self.fields.push(Field { key, at, value });
        }
    }
}

impl Value {
    /// How much a copy of it takes, or a walk over its list.
    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::Text(parts) => parts.iter().map(Part::size).sum(),
            Kind::Table(table) => table.borrow().list.len(),
            _ => 1,
        }
    }

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

/// Texts, one after another.
#[derive(Default)]
pub(super) struct Joined {
    parts: Vec<Part>,
    bytes: usize,
}

impl Joined {
    /// Adds a text. `None` if it has none, or if all together are too long.
    pub(super) fn push(&mut self, value: &Value) -> Option<()> {
        let more = match &value.kind {
            Kind::Text(parts) => parts.clone(),
            Kind::Number(_) => vec![Part::Literal(value.plain()?)],
            _ => return None,
        };
        for part in more {
            self.bytes += part.size();
            if self.bytes > LONGEST {
                return None;
            }
            match (self.parts.last_mut(), part) {
                (Some(Part::Literal(last)), Part::Literal(text)) => last.push_str(&text),
                (_, part) => self.parts.push(part),
            }
        }
        Some(())
    }

    pub(super) fn kind(self) -> Kind {
        Kind::Text(self.parts)
    }
}

impl Part {
    fn size(&self) -> usize {
        match self {
            Self::Literal(text) => text.len(),
            Self::Variable(name, default) => {
                1 + name.len() + default.as_ref().map_or(0, String::len)
            }
        }
    }
}

/// One text after another, as `..` makes it. `None` if one of them has no text, or if both are too long.
pub(super) fn joined(one: &Value, other: &Value) -> Option<Kind> {
    let mut all = Joined::default();
    all.push(one)?;
    all.push(other)?;
    Some(all.kind())
}
