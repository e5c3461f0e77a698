//! PostgreSQL, for those who have one.

use std::error::Error as _;

use bytes::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, NoTls};

use super::sql::{Connection, Row, Value};
use crate::error::StoreError;

/// A connection to a server.
pub(super) struct Postgres {
    client: Client,
    place: String,
}

impl Postgres {
    /// Connects. The connection is encrypted where the server offers it, unless the URL says
    /// `sslmode=disable`.
    pub(super) fn connect(url: &str) -> Result<Self, StoreError> {
        let config: postgres::Config = url.parse().map_err(|error| StoreError::Unusable {
            place: "postgres://…".into(),
            problem: format!("{error}; a URL looks like postgres://user:password@host/name"),
        })?;
        let place = place(&config);
        let client = if config.get_ssl_mode() == postgres::config::SslMode::Disable {
            config.connect(NoTls)
        } else {
            config.connect(tls(&place)?)
        };
        let client = client.map_err(|error| failure(&place, &error))?;
        Ok(Self { client, place })
    }
}

/// The database without the password.
fn place(config: &postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(postgres::config::Host::Tcp(host)) => host.clone(),
        // Clients are told of it, and paths of this machine are not theirs to know.
        Some(postgres::config::Host::Unix(_)) => "on this machine".into(),
        None => "localhost".into(),
    };
    format!("postgres {host}/{}", config.get_dbname().unwrap_or("?"))
}

fn tls(place: &str) -> Result<tokio_postgres_rustls::MakeRustlsConnect, StoreError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Failed {
            place: place.to_owned(),
            problem: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

fn failure(place: &str, error: &postgres::Error) -> StoreError {
    let place = place.to_owned();
    if error.code() == Some(&postgres::error::SqlState::DISK_FULL) {
        return StoreError::Full { place };
    }
    let problem = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    StoreError::Failed { place, problem }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) => value.to_sql(kind, out),
            Self::Real(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.as_ref().to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::BYTEA].contains(kind)
    }

    to_sql_checked!();
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

fn value(row: &postgres::Row, at: usize) -> Result<Value, postgres::Error> {
    Ok(match *row.columns()[at].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(at)?.into(),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(at)?.into(),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at)?.into(),
        Type::BOOL => row.try_get::<_, Option<bool>>(at)?.into(),
        _ => row.try_get::<_, Option<String>>(at)?.into(),
    })
}

impl Connection for Postgres {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<(), StoreError> {
        self.client
            .execute(sql, &parameters(values))
            .map(drop)
            .map_err(|error| failure(&self.place, &error))
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let read = |row: &postgres::Row| {
            let values = (0..row.len()).map(|at| value(row, at));
            values.collect::<Result<_, _>>().map(Row)
        };
        let rows = self.client.query(sql, &parameters(values));
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|error| failure(&self.place, &error))
    }

    fn alive(&self) -> bool {
        !self.client.is_closed()
    }
}
