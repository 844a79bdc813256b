//! From a Lua text to the tables that it builds from literals. Nothing is run.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use full_moon::LuaVersion;
use full_moon::ast::{
    Assignment, BinOp, Block, Call, Expression, Field as TableField, FunctionArgs, FunctionCall,
    Index, LastStmt, Prefix, Stmt, Suffix, TableConstructor, Var,
};
use full_moon::node::Node;
use full_moon::tokenizer::{TokenReference, TokenType};

use super::arithmetic::{arithmetic, unary};
use super::calls;
use super::literal::{number, string};
use super::remark::Remark;
use super::value::{Kind, Part, Spot, Table, Value, joined};

/// Names that Lua or OpenResty has for itself: what is set in them is no configuration.
const OUTSIDE: [&str; 13] = [
    "_G",
    "bit",
    "coroutine",
    "debug",
    "ffi",
    "io",
    "jit",
    "math",
    "ngx",
    "os",
    "package",
    "string",
    "table",
];

/// Bytes of texts and items of lists that are used by the names of variables: a file has far fewer.
const MOST_USED: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Module {
    pub(super) returned: Option<Value>,
    pub(super) variables: HashMap<String, Value>,
    /// Statements that would have to be run.
    pub(super) passed_over: Vec<Remark>,
    /// How much of values was used again.
    used: Cell<usize>,
}

/// Reads a text whose depth `guard` has checked.
pub(super) fn read(text: &str) -> Result<Module, Vec<Remark>> {
    let tree = full_moon::parse_fallible(text, LuaVersion::luajit()).into_result();
    let tree = tree.map_err(|errors| {
        let remark = |error: &full_moon::Error| {
            let at = error.range().0;
            // The parser's own words may repeat a secret.
            remark((at.line(), at.character()), "this is not Lua", "`luac -p` says more")
        };
        errors.iter().take(1).map(remark).collect::<Vec<_>>()
    })?;
    let mut module = Module::default();
    module.block(tree.nodes());
    Ok(module)
}

fn remark(at: Spot, message: &str, hint: &'static str) -> Remark {
    Remark { line: at.0, column: at.1, message: message.to_owned(), hint: Some(hint) }
}

fn spot(node: &impl Node) -> Spot {
    node.start_position().map_or((0, 0), |at| (at.line(), at.character()))
}

fn name(token: &TokenReference) -> String {
    match token.token_type() {
        TokenType::Identifier { identifier } => identifier.to_string(),
        _ => token.token().to_string(),
    }
}

impl Module {
    fn block(&mut self, block: &Block) {
        for statement in block.stmts() {
            match statement {
                Stmt::LocalAssignment(local) => {
                    let mut values = local
                        .expressions()
                        .iter()
                        .map(|e| self.value(e))
                        .collect::<Vec<_>>()
                        .into_iter();
                    for variable in local.names() {
                        let nil = Value { at: spot(variable), kind: Kind::Nil };
                        self.variables.insert(name(variable), values.next().unwrap_or(nil));
                    }
                }
                Stmt::Assignment(assignment) => self.assign(assignment),
                Stmt::Do(inner) => self.block(inner.block()),
                Stmt::LocalFunction(function) => {
                    let at = spot(function.name());
                    let kind = Kind::Unknown("a function");
                    self.variables.insert(name(function.name()), Value { at, kind });
                }
                // A module's own functions and what it requires say nothing about its tables.
                Stmt::FunctionDeclaration(_) => {}
                Stmt::FunctionCall(call) if self.inserted(call).is_some() => {}
                other => self.passed_over.push(remark(
                    spot(other),
                    "this statement was passed over: nothing is run",
                    "if it changes the configuration, do the same in the result by hand",
                )),
            }
        }
        if let Some(LastStmt::Return(last)) = block.last_stmt() {
            self.returned = last.returns().iter().next().map(|value| self.value(value));
        }
    }

    fn assign(&mut self, assignment: &Assignment) {
        let values: Vec<_> = assignment.expressions().iter().map(|e| self.value(e)).collect();
        let mut values = values.into_iter();
        for variable in assignment.variables() {
            let at = spot(variable);
            let value = values.next().unwrap_or(Value { at, kind: Kind::Nil });
            match variable {
                Var::Name(token) => {
                    self.variables.insert(name(token), value);
                }
                Var::Expression(path) => {
                    let suffixes: Vec<_> = path.suffixes().collect();
                    let set = suffixes.split_last().and_then(|(last, parents)| {
                        if parents.is_empty() {
                            self.make_table(path.prefix());
                        }
                        let owner = self.walk(path.prefix(), parents.iter().copied())?;
                        let key = self.key(last)?;
                        owner.table()?.borrow_mut().set(key, at, value);
                        Some(())
                    });
                    if set.is_none() {
                        self.passed_over.push(remark(
                            at,
                            "this assignment was passed over: it is not to a table of this file",
                            "if it changes the configuration, do the same in the result by hand",
                        ));
                    }
                }
                _ => {}
            }
        }
    }

    /// Has a variable that is set below without having been made hold a table: a file that is a
    /// part of another, or printed in a document, begins with `config.applications = { … }`.
    fn make_table(&mut self, prefix: &Prefix) {
        let Prefix::Name(token) = prefix else { return };
        let name = name(token);
        let is_made = self.variables.get(&name).is_some_and(|value| match value.kind {
            Kind::Nil => false,
            Kind::Unknown(what) => what == "a function",
            _ => true,
        });
        if !is_made && !OUTSIDE.contains(&name.as_str()) {
            let kind = Kind::Table(Rc::new(RefCell::new(Table::default())));
            self.variables.insert(name, Value { at: spot(token), kind });
        }
    }

    /// `table.insert(list, value)`, with or without a place in the list.
    fn inserted(&self, call: &FunctionCall) -> Option<()> {
        let Prefix::Name(table) = call.prefix() else { return None };
        let suffixes: Vec<_> = call.suffixes().collect();
        let [
            Suffix::Index(Index::Dot { name: member, .. }),
            Suffix::Call(Call::AnonymousCall(args)),
        ] = &suffixes[..]
        else {
            return None;
        };
        if name(table) != "table" || name(member) != "insert" {
            return None;
        }
        let arguments = self.arguments(args);
        let (list, place, value) = match &arguments[..] {
            [list, value] => (list, usize::MAX, value),
            [list, place, value] => (list, place.plain()?.parse::<usize>().ok()?, value),
            _ => return None,
        };
        let mut list = list.table()?.borrow_mut();
        let place = place.saturating_sub(1).min(list.list.len());
        list.list.insert(place, value.clone());
        Some(())
    }

    /// The value at the end of a path.
    fn walk<'s>(
        &self,
        prefix: &Prefix,
        suffixes: impl Iterator<Item = &'s Suffix>,
    ) -> Option<Value> {
        let mut value = match prefix {
            Prefix::Name(token) => self.variables.get(&name(token))?.clone(),
            Prefix::Expression(inner) => self.value(inner),
            _ => return None,
        };
        for suffix in suffixes {
            let key = self.key(suffix)?;
            let next = {
                let table = value.table()?.borrow();
                let index = key.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                index.and_then(|index| table.list.get(index).cloned()).or_else(|| table.get(&key))
            };
            value = next?;
        }
        Some(value)
    }

    fn key(&self, suffix: &Suffix) -> Option<String> {
        match suffix {
            Suffix::Index(Index::Dot { name: token, .. }) => Some(name(token)),
            Suffix::Index(Index::Brackets { expression, .. }) => self.value(expression).plain(),
            _ => None,
        }
    }

    fn value(&self, expression: &Expression) -> Value {
        let at = spot(expression);
        let kind = match expression {
            Expression::Number(token) => number(token),
            Expression::String(token) => string(token),
            Expression::Symbol(token) => match token.token().to_string().as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "nil" => Kind::Nil,
                _ => Kind::Unknown("a value that only a call knows"),
            },
            Expression::TableConstructor(table) => self.table(table),
            Expression::Parentheses { expression, .. } => self.value(expression).kind,
            Expression::Var(variable) => {
                let found = match variable {
                    Var::Name(token) => self.variables.get(&name(token)).cloned(),
                    Var::Expression(path) => self.walk(path.prefix(), path.suffixes()),
                    _ => None,
                };
                let away = Value { at, kind: Kind::Unknown("a variable of another file") };
                return self.bounded(found.unwrap_or(away));
            }
            Expression::BinaryOperator { lhs, binop, rhs } => self.operation(lhs, binop, rhs),
            Expression::UnaryOperator { unop, expression } => unary(unop, &self.value(expression)),
            Expression::FunctionCall(call) => self.call(call),
            Expression::Function(_) => Kind::Unknown("a function"),
            _ => Kind::Unknown("an expression"),
        };
        Value { at, kind }
    }

    fn table(&self, written: &TableConstructor) -> Kind {
        let mut table = Table::default();
        for field in written.fields() {
            match field {
                TableField::NameKey { key, value, .. } => {
                    table.set(name(key), spot(key), self.value(value));
                }
                TableField::ExpressionKey { key, value, .. } => {
                    let at = spot(&**key);
                    if let Some(key) = self.value(key).plain() {
                        table.set(key, at, self.value(value));
                    } else {
                        let kind = Kind::Unknown("a key that is computed");
                        table.set("[…]".to_owned(), at, Value { at, kind });
                    }
                }
                TableField::NoKey(value) => table.list.push(self.value(value)),
                _ => {}
            }
        }
        Kind::Table(Rc::new(RefCell::new(table)))
    }

    fn operation(&self, one: &Expression, operator: &BinOp, other: &Expression) -> Kind {
        let (one, other) = (self.value(one), self.value(other));
        match operator {
            BinOp::TwoDots(_) => {
                joined(&one, &other).unwrap_or(Kind::Unknown("a text that is put together"))
            }
            BinOp::Or(_) => match (&one.kind, other.plain()) {
                // `os.getenv("NAME") or "default"`
                (Kind::Text(parts), Some(default)) => match &parts[..] {
                    [Part::Variable(name, None)] if !default.contains(['}', '\n', '$']) => {
                        Kind::Text(vec![Part::Variable(name.clone(), Some(default))])
                    }
                    [Part::Variable(_, None)] => Kind::Unknown("a choice"),
                    _ => one.kind,
                },
                // `config = config or {}`: nothing else is in this file.
                (Kind::Unknown(_), None) if other.table().is_some() => other.kind,
                _ => match one.is_true() {
                    Some(true) => one.kind,
                    Some(false) => other.kind,
                    None => Kind::Unknown("a choice"),
                },
            },
            BinOp::And(_) => match one.is_true() {
                Some(true) => other.kind,
                Some(false) => one.kind,
                None => Kind::Unknown("a choice"),
            },
            _ => match (one.number(), other.number()) {
                (Some(one), Some(other)) => arithmetic(one, operator, other),
                _ => Kind::Unknown("arithmetic"),
            },
        }
    }

    /// A function by its name, and methods of what it gives, or of a text.
    fn call(&self, call: &FunctionCall) -> Kind {
        const UNKNOWN: Kind = Kind::Unknown("a function call");
        let at = spot(call);
        let mut suffixes = call.suffixes().peekable();
        let mut kind = match call.prefix() {
            Prefix::Expression(inner) => self.value(inner).kind,
            Prefix::Name(first)
                if matches!(suffixes.peek(), Some(Suffix::Call(Call::MethodCall(_)))) =>
            {
                let text = self.variables.get(&name(first)).cloned();
                text.map_or(UNKNOWN, |text| self.bounded(text).kind)
            }
            Prefix::Name(first) => {
                let mut function = name(first);
                loop {
                    match suffixes.next() {
                        Some(Suffix::Index(Index::Dot { name: member, .. })) => {
                            function = format!("{function}.{}", name(member));
                        }
                        Some(Suffix::Call(Call::AnonymousCall(arguments))) => {
                            break calls::result(&function, &self.arguments(arguments));
                        }
                        _ => return UNKNOWN,
                    }
                }
            }
            _ => return UNKNOWN,
        };
        for suffix in suffixes {
            let Suffix::Call(Call::MethodCall(method)) = suffix else { return UNKNOWN };
            let mut arguments = vec![Value { at, kind }];
            arguments.extend(self.arguments(method.args()));
            kind = calls::result(&format!("string.{}", name(method.name())), &arguments);
        }
        kind
    }

    /// A value that is used again, unless too much is.
    fn bounded(&self, value: Value) -> Value {
        let used = self.used.get().saturating_add(value.size());
        self.used.set(used);
        let kind = if used > MOST_USED { Kind::Unknown("used too often") } else { value.kind };
        Value { kind, ..value }
    }

    fn arguments(&self, arguments: &FunctionArgs) -> Vec<Value> {
        match arguments {
            FunctionArgs::Parentheses { arguments, .. } => {
                arguments.iter().map(|argument| self.value(argument)).collect()
            }
            FunctionArgs::String(token) => vec![Value { at: spot(token), kind: string(token) }],
            FunctionArgs::TableConstructor(table) => {
                vec![Value { at: spot(&**table), kind: self.table(table) }]
            }
            _ => Vec::new(),
        }
    }
}
