//! Commands that other servers have, and what to type here.

use std::ffi::OsString;

/// What to type instead of a command line that is another server's; its first word is the program.
pub(super) fn meant(arguments: &[OsString]) -> Option<&'static str> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    let word = match first {
        "-s" => second,
        signal => signal.strip_prefix("-s").unwrap_or(signal),
    };
    Some(match word {
        "reload" | "-reload" | "--reload" => {
            "a running gateway reads a changed file by itself; `systemctl reload difygate` or `kill -HUP PID` \
             makes it read at once, `difygate check` says whether it will be taken in"
        }
        "-t" | "-T" | "test" | "configtest" | "validate" => {
            "`difygate check FILE` checks a configuration"
        }
        "stop" | "quit" | "restart" => {
            "`systemctl stop difygate` or `kill -TERM PID` stops a gateway after its last response"
        }
        "reopen" => "`kill -USR1 PID` makes a gateway open the files of its logs again",
        "start" | "run" => "`difygate serve FILE` serves a configuration",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn the_words_of_other_servers_are_answered_with_ours() {
        for (line, said) in [
            ("difygate reload", Some("kill -HUP")),
            ("difygate -s reload", Some("kill -HUP")),
            ("difygate -sreload", Some("kill -HUP")),
            ("difygate -t", Some("difygate check")),
            ("difygate -s quit", Some("kill -TERM")),
            ("difygate start", Some("difygate serve")),
            ("difygate nonsense", None),
            ("difygate", None),
        ] {
            let words: Vec<_> = line.split(' ').map(Into::into).collect();
            let hint = meant(&words);
            assert_eq!(hint.is_some(), said.is_some(), "{line}");
            assert!(hint.unwrap_or_default().contains(said.unwrap_or_default()), "{line}");
        }
    }
}
