//! Names that the configuration takes, for those that it does not.

use std::collections::HashSet;

/// How long a name may be.
const LONGEST: usize = 64;

/// Names of one kind, no two of which are the same.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// With those names that stay as they are.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self { taken: names.filter(|name| is_name(name)).map(str::to_owned).collect() }
    }

    /// A name in place of one that cannot stay: what can be kept of it, else `stem` and its place from 1.
    /// None: it can stay.
    pub(super) fn instead_of(&mut self, name: &str, stem: &str, place: usize) -> Option<String> {
        if is_name(name) {
            return None;
        }
        let kept: String = name.chars().map(|c| if fits(c) { c } else { ' ' }).collect();
        let kept = kept.split_whitespace().collect::<Vec<_>>().join("_");
        let kept = &kept[..kept.len().min(LONGEST - 4)];
        let has_word = kept.chars().any(|c| c.is_ascii_alphabetic());
        let base = if has_word { kept.to_owned() } else { format!("{stem}-{place}") };
        let numbered = (2..=99).map(|number| format!("{base}-{number}"));
        let free = std::iter::once(base.clone())
            .chain(numbered)
            .find(|name| !self.taken.contains(name))?;
        self.taken.insert(free.clone());
        Some(free)
    }
}

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn what_can_be_kept_of_a_name_is_and_no_two_are_the_same() {
        let all = ["shop", "智能客服", "app-2", "客服 A 区", "my shop!", "my  shop", "问答"];
        let mut names = Names::new(all.into_iter());
        let given: Vec<_> =
            (1..).zip(all).map(|(place, name)| names.instead_of(name, "app", place)).collect();
        let given: Vec<_> = given.iter().map(Option::as_deref).collect();
        let expected = [
            None,
            Some("app-2-2"),
            None,
            Some("A"),
            Some("my_shop"),
            Some("my_shop-2"),
            Some("app-7"),
        ];
        assert_eq!(given, expected);
    }
}
