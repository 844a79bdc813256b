//! What each Dify from 1.5 to main does, and what the gateway does then: a test for each row of the table
//! in the guide ("Versions of Dify"), against every release that is simulated.

mod ends;
mod files;
mod health;
mod landscapes;
mod runs;
mod turns;
