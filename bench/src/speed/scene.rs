//! What all contenders are configured for: apps, tokens, keys and instances.

use std::fmt::Write;

/// How a contender is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// A reverse proxy to one instance.
    Plain,
    /// [`APPS`] apps of [`INSTANCES`] instances each, [`TOKENS`] tokens: the token names the app,
    /// the user in the JSON body the instance, by consistent hashing, and the instance gets its own
    /// key. Instances that fail are passed over.
    Full,
    /// The same with 1,000 apps of [`MOST_INSTANCES`] and 10,000 tokens.
    Many,
}

/// Instances that each app has.
pub const INSTANCES: usize = 4;
/// Instances that each of many apps has.
pub const MOST_INSTANCES: usize = 64;
/// Apps of [`Setup::Full`].
pub const APPS: usize = 10;
/// Tokens of [`Setup::Full`], the same number for each app.
pub const TOKENS: usize = 100;

impl Setup {
    /// Apps, tokens, and instances an app.
    #[must_use]
    pub fn size(self) -> (usize, usize, usize) {
        match self {
            Self::Plain => (1, 1, 1),
            Self::Full => (APPS, TOKENS, INSTANCES),
            Self::Many => (1_000, 10_000, MOST_INSTANCES),
        }
    }

    /// Each token with the number of its app.
    pub fn tokens(self) -> impl Iterator<Item = (String, usize)> {
        let (apps, tokens, _) = self.size();
        (0..tokens).map(move |number| (token(number), number % apps))
    }
}

/// What a client sends.
#[must_use]
pub fn token(number: usize) -> String {
    format!("usertoken--bench-{number:05}")
}

/// What an instance of an app wants to see; the instance only looks at the beginning.
#[must_use]
pub fn key(app: usize, instance: usize) -> String {
    format!("app-{app}-{instance}")
}

/// A chat request of about so many bytes of JSON, the user last, as scanners like it least.
#[must_use]
pub fn chat(user: usize, mode: &str, bytes: usize) -> String {
    let mut body = format!(
        "{{\"inputs\": {{\"topic\": \"ordinary\", \"language\": \"en\"}}, \"response_mode\": \"{mode}\", \
         \"conversation_id\": \"\", \"query\": \""
    );
    let end =
        format!("\", \"auto_generate_name\": false, \"files\": [], \"user\": \"user-{user:05}\"}}");
    let words = ["what ", "is ", "the ", "shortest ", "way ", "from ", "here ", "to ", "there? "];
    let mut next = words.iter().cycle();
    while body.len() + end.len() < bytes {
        let left = bytes - body.len() - end.len();
        let word = next.next().copied().unwrap_or("a ");
        let _ = write!(body, "{}", word.get(..left).unwrap_or(word));
    }
    body + &end
}

#[cfg(test)]
mod tests {
    use super::chat;

    #[test]
    fn a_chat_request_is_json_of_the_size_asked_for() {
        for bytes in [523, 8192] {
            let body = chat(7, "blocking", bytes);
            assert_eq!(body.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["user"], "user-00007");
        }
    }
}
