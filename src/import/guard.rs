//! Refuses what is nested too deeply for a parser that calls itself.

use full_moon::LuaVersion;
use full_moon::tokenizer::{Lexer, LexerResult, Position, Symbol, TokenType};

use super::remark::Remark;

/// Brackets and blocks within each other.
const DEEPEST: usize = 50;
/// Operators in one expression, each of which may be a level too.
const MOST_OPERATORS: usize = 50;

/// Names, values and signs. The parser keeps some hundred bytes of each, and what is made of them is compared
/// with each other; five thousand instances have as many.
const MOST_TOKENS: usize = 100_000;

/// Checks the tokens alone, in one loop.
pub(super) fn check(text: &str) -> Result<(), Remark> {
    let mut lexer = Lexer::new(text, LuaVersion::luajit());
    let (mut depth, mut operators) = (0_usize, 0_usize);
    let mut tokens = 0_usize;
    while let Some(token) = lexer.consume() {
        let token = match token {
            LexerResult::Ok(token) => token,
            LexerResult::Recovered(_, errors) | LexerResult::Fatal(errors) => {
                let at = errors.first().map(|error| error.position()).unwrap_or_default();
                return Err(refusal(at, "this is not Lua", "`luac -p` says more"));
            }
        };
        tokens += usize::from(!token.token_type().is_trivia());
        if tokens > MOST_TOKENS {
            let hint = "import a part of the file at a time, and put the results together";
            let at = token.token().start_position();
            return Err(refusal(at, "this file says too much to be imported at once", hint));
        }
        let TokenType::Symbol { symbol } = token.token_type() else { continue };
        match weight(*symbol) {
            Weight::Opens => depth += 1,
            Weight::Closes => depth = depth.saturating_sub(1),
            Weight::Operates => operators += 1,
            Weight::Parts => operators = 0,
            Weight::Joins => {}
        }
        if depth > DEEPEST || operators > MOST_OPERATORS {
            let hint = "a configuration is a few tables deep";
            let at = token.token().start_position();
            return Err(refusal(at, "this is nested too deeply", hint));
        }
    }
    Ok(())
}

fn refusal(at: Position, message: &str, hint: &'static str) -> Remark {
    let (line, column) = (at.line(), at.character());
    Remark { line, column, message: message.to_owned(), hint: Some(hint) }
}

/// What a symbol does to the depth.
enum Weight {
    Opens,
    Closes,
    Operates,
    Parts,
    Joins,
}

fn weight(symbol: Symbol) -> Weight {
    match symbol {
        Symbol::LeftBrace | Symbol::LeftParen | Symbol::LeftBracket => Weight::Opens,
        Symbol::Function | Symbol::Do | Symbol::If | Symbol::Repeat => Weight::Opens,
        Symbol::RightBrace | Symbol::RightParen | Symbol::RightBracket => Weight::Closes,
        Symbol::End | Symbol::Until => Weight::Closes,
        Symbol::Comma | Symbol::Semicolon | Symbol::Equal | Symbol::Local => Weight::Parts,
        Symbol::Return | Symbol::Then | Symbol::Else | Symbol::ElseIf => Weight::Parts,
        Symbol::Dot | Symbol::Colon | Symbol::For | Symbol::While | Symbol::In => Weight::Joins,
        Symbol::True | Symbol::False | Symbol::Nil | Symbol::Break => Weight::Joins,
        _ => Weight::Operates,
    }
}
