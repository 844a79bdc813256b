//! Mutates the seeds of a target for some seconds, without a fuzzer: the same inputs in the same
//! order each time, on any compiler.
//!
//! ```text
//! fuzz NAME|all [SECONDS]     as long as that, each
//! fuzz NAME FILE              that input alone
//! fuzz --seeds NAME FOLDER    writes the seeds into files, for cargo-fuzz
//! ```

use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use difygate_fuzz::{TARGETS, Target, seeds};

/// Longer than this for one input is a failure: every target is linear.
const TOO_LONG: Duration = Duration::from_secs(30);
/// Larger inputs are cut.
const LARGEST: usize = 64 * 1024;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--seeds", name, folder] => write_seeds(name, Path::new(folder)),
        ["all"] => all(10),
        ["all", seconds] => seconds.parse().map_or(Err("how many seconds?".into()), all),
        [name] => target(name).and_then(|run| fuzz(name, run, 10)),
        [name, what] => target(name).and_then(|run| match what.parse() {
            Ok(seconds) => fuzz(name, run, seconds),
            Err(_) => again(run, Path::new(what)),
        }),
        _ => Err(format!("usage: fuzz NAME [SECONDS]; NAME is all or {:?}", TARGETS.map(|t| t.0))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("fuzz: {what}");
            ExitCode::FAILURE
        }
    }
}

fn target(name: &str) -> Result<Target, String> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, run)| *run).ok_or_else(|| format!("no target {name}"))
}

fn all(seconds: u64) -> Result<(), String> {
    TARGETS.iter().try_for_each(|(name, run)| fuzz(name, *run, seconds))
}

fn again(run: Target, file: &Path) -> Result<(), String> {
    run(&fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?);
    println!("fuzz: {} is as it must be", file.display());
    Ok(())
}

fn write_seeds(name: &str, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for (number, seed) in seeds::of(name).iter().enumerate() {
        let file = folder.join(format!("seed-{number}"));
        fs::write(file, seed).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn fuzz(name: &str, run: Target, seconds: u64) -> Result<(), String> {
    let seeds = seeds::of(name);
    if seeds.is_empty() {
        return Err(format!("{name} has no seeds"));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut chance, mut inputs, mut slowest) =
        (Chance(0x9e37_79b9_7f4a_7c15), 0_u64, Duration::ZERO);
    while Instant::now() < until || inputs < seeds.len() as u64 {
        // Every seed as it is first, then mutated ones.
        let input = match seeds.get(inputs as usize) {
            Some(seed) => seed.clone(),
            None => mutated(&seeds, &mut chance),
        };
        let began = Instant::now();
        let ended = catch_unwind(|| run(&input));
        let took = began.elapsed();
        if ended.is_err() || took > TOO_LONG {
            return Err(format!("{name} fails after {inputs} inputs: {}", keep(name, &input)));
        }
        slowest = slowest.max(took);
        inputs += 1;
    }
    let (count, slowest) = (seeds.len(), slowest.as_secs_f64() * 1000.0);
    println!(
        "fuzz {name}: {inputs} inputs of {count} seeds in {seconds} s, slowest {slowest:.1} ms, no failure"
    );
    Ok(())
}

/// Where the input is kept for another look.
fn keep(name: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    let file = folder.join(format!("failure-{}", input.len()));
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&file, input)) {
        Ok(()) => file.display().to_string(),
        Err(error) => format!("{error}: {}", input.escape_ascii()),
    }
}

/// Bytes that mean something to one target or another.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"--",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"null",
    b"true",
    b"NaN",
    b"\\ud83d",
    b"\\u0000",
    b"\xc3",
    b"\xe4\xbd\xa0",
    b"\xf0\x9f\x98\x80",
    b"\xff",
    b"Content-Length: 5\r\n",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"Connection: ",
    b"keep-alive",
    b"close",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / ",
    b"data: ",
    b"event: ",
    b"id:",
    b"\n\n",
    b"user",
    b"\"user\": \"x\"",
    b"upload_file_id",
    b"---",
    b"&a ",
    b"*a",
    b"!!str ",
    b"${X:-",
    b"|\n",
    b"? ",
    b"# ",
    b"role",
    b"content",
    b"data:;base64,",
];

fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(6) {
        let (at, end) = (chance.below(input.len() + 1), chance.below(input.len() + 1));
        let (begin, end) = (at.min(end), at.max(end).min(at.min(end) + 64));
        match chance.below(7) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = chance.below(256) as u8,
            2 => drop(input.drain(begin..end)),
            3 => input.truncate(at),
            4 => {
                let piece = input[begin..end].repeat(1 + chance.below(8));
                input.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => drop(input.splice(at..at, WORDS[chance.below(WORDS.len())].iter().copied())),
        }
    }
    input.truncate(LARGEST);
    input
}

/// Numbers without a pattern that matters: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
