//! Files that an app made, as Markdown after its text.

use super::event::{Event, File, Workflow};
use super::lenient::items;
use super::run_decoder::RunDecoder;
use crate::adapter::response_encoder::AppEvent;
use crate::adapter::{file_urls, markdown};
use crate::model::ai::MadeFiles;

/// The most files of an answer.
const MAX_FILES: usize = 256;

impl RunDecoder {
    /// A file by an event of its own.
    pub(super) fn message_file(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        if event.belongs_to.get() != Some("user") {
            let (url, kind) = (event.url.clone(), event.kind.clone());
            self.file(&File { url, kind, ..File::default() }, emit);
        }
    }

    /// The files that a message's end names. Since 1.14 those of the question are among them.
    pub(super) fn files_of_message(&mut self, event: &Event<'_>, emit: &mut dyn FnMut(AppEvent)) {
        for file in items::<File<'_>>(event.files) {
            let is_given = match file.belongs_to.get() {
                Some(whose) => whose == "user",
                None => matches!(file.transfer_method.get(), Some("local_file" | "remote_url")),
            };
            if !is_given {
                self.file(&file, emit);
            }
        }
    }

    /// The files among a workflow's outputs.
    pub(super) fn files_of_workflow(&mut self, run: &Workflow<'_>, emit: &mut dyn FnMut(AppEvent)) {
        for file in items::<File<'_>>(run.files) {
            if file.belongs_to.get() != Some("user") {
                self.file(&file, emit);
            }
        }
    }

    fn file(&mut self, file: &File<'_>, emit: &mut dyn FnMut(AppEvent)) {
        let (Some(url), MadeFiles::Markdown) = (file.url.get(), self.options.files) else { return };
        // What follows is a signature, another one each time.
        let path = url.split('?').next().unwrap_or(url);
        // What stands before it may be another base in the text.
        let path = path.find("/files/").and_then(|at| path.get(at..)).unwrap_or(path);
        // Nodes that make files often write them into the answer themselves.
        let is_told =
            self.files.iter().any(|known| known == path) || self.summary.text.contains(path);
        if is_told || self.files.len() >= MAX_FILES {
            return;
        }
        self.files.push(path.to_owned());
        let url = file_urls::absolute(url, &self.options.files_base);
        let link = markdown::file(file.kind.get(), file.filename.get(), &url);
        let gap = if self.summary.text.is_empty() { "" } else { "\n\n" };
        self.model_text(&format!("{gap}{link}"), emit);
    }
}
