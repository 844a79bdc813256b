//! What `fuzz/` sees of this room: heads as they are read, and where the body behind one ends.

use bytes::Bytes;

use crate::gateway::http::framing;
use crate::gateway::http::h1::body::Body;
use crate::gateway::http::h1::parse::{self, Found};
use crate::gateway::http::headers::{Field, Fields};
use crate::gateway::http::hop_by_hop::Behind;
use crate::gateway::http::limits::Limits;
use crate::gateway::server::h1::stays;
use crate::gateway::server::write_response::Stays;
use crate::gateway::upstream::h1::stays_open;

/// Names, as they were spelt, and values.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// What is at the front of some bytes.
#[derive(Debug)]
pub enum Front {
    /// A head.
    Head(Seen),
    /// A part of one.
    Part,
    /// Nothing that can become one.
    Bad,
}

/// A head.
#[derive(Debug)]
pub struct Seen {
    /// Its first line, in the words of `http`.
    pub line: String,
    /// All its fields.
    pub fields: Lines,
    /// How many bytes it has.
    pub length: usize,
    /// The fields that go on; none if the head is refused.
    pub on: Option<Lines>,
    /// Whether the connection outlives it.
    pub stays: bool,
    parsed: Fields,
    body: fn(&Fields) -> Body,
}

/// A body that is being read.
pub struct Coming(Body);

/// The head of a request.
pub(crate) fn request(bytes: &[u8], limits: &Limits) -> Front {
    let (head, length) = match parse::request(bytes, limits.headers) {
        Ok(Found::Head(head, length)) => (head, length),
        Ok(Found::Part) => return Front::Part,
        Err(_) => return Front::Bad,
    };
    let behind = Behind::of_request(&head.fields);
    let passes = framing::check(&head, limits).is_ok();
    Front::Head(Seen {
        line: format!("{} {} {:?}", head.method, head.uri, head.version),
        fields: lines(head.fields.iter()),
        length,
        on: passes.then(|| lines(head.fields.iter().filter(|field| !behind.has(field)))),
        stays: stays(&head) != Stays::Closes && !framing::must_close(&head.fields),
        parsed: head.fields,
        body: Body::of_request,
    })
}

/// The head of an answer, to a request that lets it have a body.
pub fn answer(bytes: &[u8]) -> Front {
    let (head, length) = match parse::answer(bytes) {
        Ok(Found::Head(head, length)) => (head, length),
        Ok(Found::Part) => return Front::Part,
        Err(_) => return Front::Bad,
    };
    let behind = Behind::of_answer(&head.fields);
    let passes = framing::fault_of_answer(&head).is_none();
    Front::Head(Seen {
        line: format!("{:?} {}", head.version, head.status.as_u16()),
        fields: lines(head.fields.iter()),
        length,
        on: passes.then(|| lines(head.fields.iter().filter(|field| !behind.has(field)))),
        stays: stays_open(&head),
        parsed: head.fields,
        body: Body::of_answer,
    })
}

fn lines<'a>(fields: impl Iterator<Item = Field<'a>>) -> Lines {
    fields.map(|field| (field.spelt.to_vec(), field.value.to_vec())).collect()
}

impl Seen {
    /// The body behind it, from its first byte.
    pub fn body(&self) -> Coming {
        Coming((self.body)(&self.parsed))
    }
}

impl Coming {
    /// Adds to `data` what `piece` has of it. Gives how many bytes of the piece were used.
    ///
    /// # Errors
    /// It is not the chunked coding.
    pub fn read(&mut self, piece: &[u8], data: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(more) = self.0.decode(&mut input)? {
            data.extend_from_slice(&more);
        }
        Ok(piece.len() - input.len())
    }

    /// Whether all of it was read.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// How many bytes are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.0.left()
    }
}
