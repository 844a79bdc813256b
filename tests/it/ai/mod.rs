//! OpenAI's and Anthropic's clients in front of the apps, on real sockets.

mod answers;
mod calls;
mod canned;
mod conversations;
mod ends;
mod made_files;
mod paths;
mod side_tasks;
mod threads;
mod upstream;
