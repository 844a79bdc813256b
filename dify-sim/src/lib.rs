//! A simulated Dify API server, of 1.5.0 up to the main branch of June 2026, for demonstrations,
//! tests and benchmarks.
//!
//! On the wire it is what recordings of the real one show: gunicorn's header case and order,
//! reason phrases in capitals, one event per chunk, Python's JSON, the same error bodies, the same
//! limits of connections, and the same ways to break. It shares no code with the gateway that is
//! tested against it, and writes its own HTTP/1.1 on tokio, because no HTTP library gives all that.
//!
//! ```no_run
//! # async fn demo() -> std::io::Result<()> {
//! use dify_sim::{App, Dify, Fault, Mode, Setup};
//!
//! let setup = Setup::default().with_app(App::new(Mode::AdvancedChat, "app-one"));
//! let dify = Dify::start(setup).await?;
//! assert!(dify.url().starts_with("http://127.0.0.1:"));
//! dify.set_fault(Fault::Status(503)).await?;
//! # Ok(()) }
//! ```
//!
//! Limits: rows, the log of served requests and kept file contents are bounded. Deliberately
//! absent: the rarer dataset routes, the console and the web-app API beyond their refusals, sound that
//! can be heard, TLS and HTTP/2.

mod api;
mod app;
mod black_hole;
mod clock;
mod connection;
mod control;
mod db;
mod live;
mod nginx;
mod pyjson;
mod ran;
mod release;
mod run;
mod served;
mod server;
mod setup;
mod state;
mod tasks;
mod wire;
mod worker;

pub use app::{App, Ending, Field, FieldKind, Flow, Mode, Moderation, Speech, Unknown};
pub use control::control;
pub use ran::{Ran, RunEnd};
pub use release::{Release, UnknownRelease};
pub use served::Served;
pub use server::Dify;
pub use setup::{Fault, Front, Pace, Setup};
