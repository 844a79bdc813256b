//! From a Lua text to the tables that it builds from literals. Nothing is run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use full_moon::LuaVersion;
use full_moon::ast::{
    Assignment, BinOp, Block, Call, Expression, Field as TableField, FunctionArgs, FunctionCall,
    Index, LastStmt, Prefix, Stmt, Suffix, TableConstructor, UnOp, Var,
};
use full_moon::node::Node;
use full_moon::tokenizer::{StringLiteralQuoteType, TokenReference, TokenType};

use super::remark::Remark;
use super::value::{Kind, Part, Spot, Table, Value, joined};

#[derive(Default)]
pub(super) struct Module {
    pub(super) returned: Option<Value>,
    pub(super) variables: HashMap<String, Value>,
    /// Statements that would have to be run.
    pub(super) passed_over: Vec<Remark>,
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
                return found.map_or(
                    Value { at, kind: Kind::Unknown("a variable of another file") },
                    |v| v,
                );
            }
            Expression::BinaryOperator { lhs, binop, rhs } => self.operation(lhs, binop, rhs),
            Expression::UnaryOperator { unop: UnOp::Minus(_), expression } => {
                match self.value(expression).kind {
                    Kind::Number(number) => Kind::Number(-number),
                    _ => Kind::Unknown("arithmetic"),
                }
            }
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
            BinOp::TwoDots(_) => joined(&one, &other)
                .map_or(Kind::Unknown("a text that is put together"), Kind::Text),
            BinOp::Or(_) => match (&one.kind, other.plain()) {
                // `os.getenv("NAME") or "default"`
                (Kind::Text(parts), Some(default)) => match &parts[..] {
                    [Part::Variable(name, None)] if !default.contains(['}', '\n', '$']) => {
                        Kind::Text(vec![Part::Variable(name.clone(), Some(default))])
                    }
                    [Part::Literal(_)] => one.kind,
                    _ => Kind::Unknown("a choice"),
                },
                (Kind::Nil | Kind::Bool(false), _) => other.kind,
                (Kind::Unknown(_), _) => Kind::Unknown("a choice"),
                _ => one.kind,
            },
            BinOp::And(_) => Kind::Unknown("a choice"),
            _ => Kind::Unknown("arithmetic"),
        }
    }

    /// `os.getenv("NAME")`, also within `tonumber(…)` and `tostring(…)`; no other call is known.
    fn call(&self, call: &FunctionCall) -> Kind {
        const UNKNOWN: Kind = Kind::Unknown("a function call");
        let Prefix::Name(function) = call.prefix() else { return UNKNOWN };
        let suffixes: Vec<_> = call.suffixes().collect();
        match (name(function).as_str(), &suffixes[..]) {
            (
                "os",
                [
                    Suffix::Index(Index::Dot { name: member, .. }),
                    Suffix::Call(Call::AnonymousCall(arguments)),
                ],
            ) if name(member) == "getenv" => {
                let variable = self.argument(arguments).and_then(|value| value.plain());
                let fits = |name: &String| {
                    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                };
                variable
                    .filter(fits)
                    .map_or(UNKNOWN, |name| Kind::Text(vec![Part::Variable(name, None)]))
            }
            ("tonumber" | "tostring", [Suffix::Call(Call::AnonymousCall(arguments))]) => {
                match self.argument(arguments).map(|value| value.kind) {
                    Some(kind @ (Kind::Text(_) | Kind::Number(_))) => kind,
                    _ => UNKNOWN,
                }
            }
            _ => UNKNOWN,
        }
    }

    /// The only argument of a call.
    fn argument(&self, arguments: &FunctionArgs) -> Option<Value> {
        match arguments {
            FunctionArgs::Parentheses { arguments, .. } if arguments.len() == 1 => {
                arguments.iter().next().map(|argument| self.value(argument))
            }
            FunctionArgs::String(token) => Some(Value { at: spot(token), kind: string(token) }),
            _ => None,
        }
    }
}

fn number(token: &TokenReference) -> Kind {
    let text = token.token().to_string().to_ascii_lowercase();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(f64::from),
        None => text.parse().ok(),
    };
    number
        .filter(|number: &f64| number.is_finite())
        .map_or(Kind::Unknown("this number"), Kind::Number)
}

fn string(token: &TokenReference) -> Kind {
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
