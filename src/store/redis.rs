//! A store in Redis, so that several gateways share their rows.
//!
//! One hash per table, `difygate:` and the table's name. A batch is one transaction (`MULTI`); a
//! guard and its changes are one script in it, so two gateways never both find a row as expected.
//!
//! Limits: one connection without TLS and for one server (no cluster, no sentinel). A command that
//! got no answer may have been done.

use std::path::Path;
#[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use redis::{Client, Connection, IntoConnectionInfo, Pipeline, RedisError, cmd, pipe};

use super::error::StoreError;
use super::key_value::{Change, ConditionalWrite, Page, Store};
use super::table::Table;
use crate::model::Token;

/// How long connecting, and each read and write, may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rows of one page of `load`.
const PAGE: usize = 1000;

/// Sets and removes fields if one field is as expected, and tells whether it was.
///
/// `KEYS` are the hashes of all tables. `ARGV` is the number of the guard's hash, its field, `1`
/// and its value or `0` and anything; then for each change the number of its hash, its field, `1`
/// and its value or `0` and anything.
const GUARDED: &str = "
local found = redis.call('HGET', KEYS[tonumber(ARGV[1])], ARGV[2])
local wanted = ARGV[3] == '1' and ARGV[4]
if found ~= wanted then return 0 end
for at = 5, #ARGV, 4 do
  local hash = KEYS[tonumber(ARGV[at])]
  if ARGV[at + 2] == '1' then
    redis.call('HSET', hash, ARGV[at + 1], ARGV[at + 3])
  else
    redis.call('HDEL', hash, ARGV[at + 1])
  end
end
return 1";

pub(super) struct RedisStore {
    client: Client,
    place: String,
    /// `None` before the first use and after an error.
    #[expect(clippy::disallowed_types, reason = "a store is no part of a request's path")]
    connection: Mutex<Option<Connection>>,
}

impl RedisStore {
    pub(super) fn new(url: &Token) -> Result<Self, StoreError> {
        let open = || {
            let info = url.expose().into_connection_info()?;
            Ok((info.addr().to_string(), info.redis_settings().db(), Client::open(info)?))
        };
        // What the parser says of a URL could show a part of it, and that may be the password.
        let (address, db, client) = open().map_err(|_: RedisError| StoreError::Redis {
            place: "***".to_owned(),
            what: "its address is not like redis://user:password@host:6379/0".to_owned(),
        })?;
        #[expect(clippy::disallowed_types, reason = "see the field")]
        let connection = Mutex::new(None);
        Ok(Self { client, place: format!("{address}/{db}"), connection })
    }

    /// Works over the connection. One that Redis has closed meanwhile is made anew, once.
    fn with<T>(
        &self,
        work: impl Fn(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let mut place = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let old = place.take();
        let was_open = old.is_some();
        let mut connection = match old {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let mut done = work(&mut connection);
        if was_open && done.as_ref().is_err_and(|error| error.is_connection_dropped()) {
            connection = self.connect()?;
            done = work(&mut connection);
        }
        let keep = done.as_ref().map_or_else(|error| !error.is_io_error(), |_| true);
        *place = keep.then_some(connection);
        done.map_err(|error| self.failed(&error))
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let connect = || {
            let connection = self.client.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            Ok(connection)
        };
        connect().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &RedisError) -> StoreError {
        StoreError::Redis { place: self.place.clone(), what: error.to_string() }
    }
}

fn hash(table: Table) -> String {
    format!("difygate:{}", table.name())
}

/// The number of a table's hash among the script's keys.
fn number(table: Table) -> usize {
    Table::ALL.iter().position(|one| *one == table).unwrap_or_default() + 1
}

/// Adds a change outside of any script.
fn add(pipeline: &mut Pipeline, change: &Change) {
    let (hash, key) = (hash(change.table), &change.key[..]);
    match &change.value {
        Some(value) => pipeline.cmd("HSET").arg(hash).arg(key).arg(&value[..]).ignore(),
        None => pipeline.cmd("HDEL").arg(hash).arg(key).ignore(),
    };
}

/// Adds a step; tells whether it is one with an answer.
fn add_step(pipeline: &mut Pipeline, step: &ConditionalWrite) -> bool {
    let Some(guard) = &step.guard else {
        step.changes.iter().for_each(|change| add(pipeline, change));
        return false;
    };
    pipeline.cmd("EVAL").arg(GUARDED).arg(Table::ALL.len());
    Table::ALL.iter().for_each(|table| {
        pipeline.arg(hash(*table));
    });
    let changes = step.changes.iter().map(|change| (change.table, &change.key, &change.value));
    let rows = [(guard.table, &guard.key, &guard.value)].into_iter().chain(changes);
    for (table, key, value) in rows {
        pipeline.arg(number(table)).arg(&key[..]).arg(u8::from(value.is_some()));
        pipeline.arg(value.as_deref().unwrap_or_default());
    }
    true
}

impl Store for RedisStore {
    fn load(&self, table: Table, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut page = self.page(table, None, PAGE)?;
        loop {
            page.rows.iter().for_each(|(key, value)| each(key, value));
            let Some(next) = page.next else { return Ok(()) };
            page = self.page(table, Some(&next), PAGE)?;
        }
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.apply(&[ConditionalWrite { guard: None, changes: changes.to_vec() }]).map(|_| ())
    }

    fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.with(|connection| cmd("HLEN").arg(hash(table)).query(connection))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|connection| cmd("HGET").arg(hash(table)).arg(key).query(connection))
    }

    fn apply(&self, steps: &[ConditionalWrite]) -> Result<Vec<bool>, StoreError> {
        let mut pipeline = pipe();
        pipeline.atomic();
        let guarded: Vec<_> = steps.iter().map(|step| add_step(&mut pipeline, step)).collect();
        let held: Vec<bool> = if pipeline.is_empty() {
            Vec::new()
        } else {
            self.with(|connection| pipeline.query(connection))?
        };
        let mut held = held.into_iter();
        Ok(guarded.into_iter().map(|guarded| !guarded || held.next() == Some(true)).collect())
    }

    fn page(&self, table: Table, from: Option<&[u8]>, count: usize) -> Result<Page, StoreError> {
        let from = from.unwrap_or(b"0");
        let (next, rows): (Vec<u8>, _) = self.with(|connection| {
            cmd("HSCAN").arg(hash(table)).arg(from).arg("COUNT").arg(count).query(connection)
        })?;
        Ok(Page { rows, next: (next != b"0").then_some(next) })
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn place(&self) -> Option<String> {
        Some(self.place.clone())
    }
}
