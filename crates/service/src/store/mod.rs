//! The database: one thread writes, many requests at a time in one transaction; others read.

mod postgres;
mod rows;
mod schema;
mod sql;
mod sqlite;

pub(crate) use rows::{
    JournalEntry, NewResult, StateFile, StreamRow, append, insert_result, label_word, time,
};
pub(crate) use sql::{Connection, Row, Statement, Value};

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::clean::Logged;
use crate::error::StoreError;

/// Writes that share a transaction at most.
const GROUP: usize = 128;
/// Connections for reading that are kept.
const READERS: usize = 4;

/// Where the database is.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Server(String),
}

impl Place {
    fn connect(&self, writer: bool) -> Result<Box<dyn Connection>, StoreError> {
        Ok(match self {
            Self::File(path) => Box::new(sqlite::Sqlite::open(path, writer).inspect_err(
                |error| tracing::error!(path = %path.display(), %error, "The database cannot be opened."),
            )?),
            Self::Server(url) => Box::new(postgres::Postgres::connect(url)?),
        })
    }

    /// The writing connection, which no second service can have.
    fn writer(&self, owner: &str) -> Result<Box<dyn Connection>, StoreError> {
        let mut connection = self.connect(true)?;
        let (bytes, place) = match self {
            Self::File(path) => ("BLOB", sqlite::named(path)),
            Self::Server(_) => {
                let mut rows = connection.query("SELECT pg_try_advisory_lock(7021001771)", &[])?;
                let free = rows.pop().map_or(Ok(false), |mut row| row.flag())?;
                if !free {
                    return Err(StoreError::Unusable {
                        place: "postgres".into(),
                        problem: "another service uses this database: stop it, or give this one a database of its own".into(),
                    });
                }
                ("BYTEA", "postgres".to_owned())
            }
        };
        schema::prepare(&mut *connection, bytes, &place, owner)?;
        Ok(connection)
    }
}

struct Write {
    statements: Vec<Statement>,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// The database of a service.
pub(crate) struct Store {
    place: Place,
    writes: Sender<Write>,
    readers: Mutex<Vec<Box<dyn Connection>>>,
    problem: Arc<Mutex<Option<StoreError>>>,
}

impl Store {
    /// Opens the database in the folder `data`, or at `url`. `owner` marks the folder.
    pub(crate) fn open(data: &Path, url: Option<&str>, owner: &str) -> Result<Self, StoreError> {
        let place = match url {
            Some(url) => Place::Server(url.to_owned()),
            None => Place::File(data.join("rareclip.sqlite")),
        };
        let writer = place.writer(owner)?;
        let (writes, queue) = channel();
        let problem = Arc::new(Mutex::new(None));
        let thread = Writer {
            place: place.clone(),
            owner: owner.to_owned(),
            connection: Some(writer),
            problem: Arc::clone(&problem),
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || thread.work(&queue))
            .map_err(|error| StoreError::Failed {
                place: "database thread".into(),
                problem: error.to_string(),
            })?;
        Ok(Self {
            place,
            writes,
            readers: Mutex::default(),
            problem,
        })
    }

    /// What keeps the database from being written at present.
    pub(crate) fn problem(&self) -> Option<StoreError> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.clone()
    }

    /// Runs statements in one transaction; they are on the disk when this is `Ok`.
    pub(crate) async fn write(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Failed {
            place: "database".into(),
            problem: "its thread has ended".into(),
        };
        self.writes
            .send(Write { statements, reply })
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Asks the database.
    pub(crate) async fn read(
        self: &Arc<Self>,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let (store, sql) = (Arc::clone(self), sql.into());
        let done = tokio::task::spawn_blocking(move || store.read_now(&sql, &values)).await;
        done.map_err(|error| StoreError::Failed {
            place: "database".into(),
            problem: error.to_string(),
        })?
    }

    fn read_now(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let readers = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = readers().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.place.connect(false)?,
        };
        let mut rows = connection.query(sql, values);
        if rows.is_err() && !connection.alive() {
            // The server may have closed an idle connection.
            connection = self.place.connect(false)?;
            rows = connection.query(sql, values);
        }
        let mut readers = readers();
        if connection.alive() && readers.len() < READERS {
            readers.push(connection);
        }
        rows
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let readers = self
            .readers
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let readers = std::mem::take(readers);
        // A connection to a server must not be ended on a thread that drives requests.
        std::thread::spawn(move || drop(readers));
    }
}

struct Writer {
    place: Place,
    owner: String,
    connection: Option<Box<dyn Connection>>,
    problem: Arc<Mutex<Option<StoreError>>>,
}

impl Writer {
    fn work(mut self, queue: &Receiver<Write>) {
        while let Ok(first) = queue.recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            let all = group.iter().flat_map(|write| &write.statements);
            match self.transaction(all) {
                Ok(()) => self.reply(group, &Ok(())),
                Err(error) if group.len() == 1 => self.reply(group, &Err(error)),
                // One wrong write must not fail the others.
                Err(_) => {
                    for write in group {
                        let result = self.transaction(write.statements.iter());
                        self.reply(vec![write], &result);
                    }
                }
            }
        }
    }

    fn reply(&self, group: Vec<Write>, result: &Result<(), StoreError>) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, &*problem) {
            (Ok(()), Some(_)) => tracing::warn!("The database can be written again."),
            (Err(error), None) => {
                tracing::error!(error = %Logged(&error), "The database cannot be written.")
            }
            _ => {}
        }
        *problem = result.clone().err();
        drop(problem);
        for write in group {
            // Whoever asked may have gone.
            let _ = write.reply.send(result.clone());
        }
    }

    fn transaction<'a>(
        &mut self,
        statements: impl Iterator<Item = &'a Statement>,
    ) -> Result<(), StoreError> {
        if self.connection.as_ref().is_some_and(|c| !c.alive()) {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(self.place.writer(&self.owner)?),
        };
        connection.execute("BEGIN", &[])?;
        let run = || {
            for (sql, values) in statements {
                connection.execute(sql, values)?;
            }
            connection.execute("COMMIT", &[])
        };
        let result = run();
        if result.is_err()
            && let Some(connection) = &mut self.connection
        {
            // Some errors have rolled back already; that there is nothing to roll back is no news.
            let _ = connection.execute("ROLLBACK", &[]);
        }
        result
    }
}
