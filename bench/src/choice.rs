//! What a run is told by variables.

use anyhow::{Context, bail};

/// Those that a variable names, or all.
///
/// # Errors
/// One is named that there is not.
pub fn chosen<T>(
    variable: &str,
    all: &'static [T],
    name: fn(&T) -> &'static str,
) -> anyhow::Result<Vec<&'static T>> {
    let asked = std::env::var(variable).unwrap_or_default();
    let asked: Vec<_> = asked.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if asked.is_empty() {
        return Ok(all.iter().collect());
    }
    for word in &asked {
        if !all.iter().any(|one| name(one).eq_ignore_ascii_case(word)) {
            let names: Vec<_> = all.iter().map(name).collect();
            bail!("{variable}: there is no {word:?}; there are: {}", names.join(", "));
        }
    }
    let wanted = |one: &&T| asked.iter().any(|word| name(one).eq_ignore_ascii_case(word));
    Ok(all.iter().filter(wanted).collect())
}

/// The number that a variable gives, or this one.
///
/// # Errors
/// It gives none.
pub fn number(variable: &str, otherwise: u64) -> anyhow::Result<u64> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => {
            text.parse().with_context(|| format!("{variable}: {text:?} is not a number"))
        }
        _ => Ok(otherwise),
    }
}
