//! The bookings in SQLite.

use super::Wanted;
use super::calendar::{self, Unavailable};
use crate::agent::value::clock;
use crate::base::Random;
use jiff::civil::{Date, DateTime, Time};
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow};
use sqlx::{Row, SqliteConnection, SqlitePool};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long a request waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a reference that are not mistaken for each other on the phone: no B/D/E/P/T/V, no S/F,
/// no M/N, no I/O/0/1.
const REFERENCE_ALPHABET: &[u8] = b"AHJKLMQRXYZ23456789";
/// Length of a reference: 19⁶ ≈ 47 million.
const REFERENCE_CHARS: usize = 6;

/// One table for bookings; the pair of day and time is unique, so that two callers never get the same
/// appointment. A key's row lives as long as its booking.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS bookings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        reference TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        date TEXT NOT NULL,
        time TEXT NOT NULL,
        phone TEXT NOT NULL,
        UNIQUE (date, time)
    ) STRICT",
    "CREATE TABLE IF NOT EXISTS idempotency_keys (
        key TEXT PRIMARY KEY,
        booking INTEGER NOT NULL REFERENCES bookings (id) ON DELETE CASCADE
    ) STRICT",
];

/// A booking as it is stored and answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Booking {
    /// Row number.
    pub id: i64,
    /// What the caller is told.
    pub reference: String,
    /// For whom.
    pub name: String,
    /// `2026-11-24`.
    pub date: String,
    /// `15:00`.
    pub time: String,
    /// Digits with an optional `+`.
    pub phone: String,
}

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Booked {
    /// A new booking.
    Created(Booking),
    /// The key was used for other details before.
    KeyReused,
    /// The same wish with the same key: the booking it made then.
    Repeated(Booking),
    /// Not to be had; these times of that day are, and this is the next one of all.
    Unavailable {
        /// Why.
        why: Unavailable,
        /// Nearest free times of the same day.
        alternatives: Vec<Time>,
        /// The first free appointment on a later day, when the day has none.
        next: Option<(Date, Time)>,
    },
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens or makes the database; `:memory:` keeps it in memory. One connection: writers queue up
    /// instead of meeting "database is locked".
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub async fn open(path: &Path) -> sqlx::Result<Self> {
        let options = if path == Path::new(":memory:") {
            SqliteConnectOptions::new().in_memory(true)
        } else {
            SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal)
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.create_if_missing(true).foreign_keys(true).busy_timeout(BUSY_TIMEOUT))
            .await?;
        for statement in SCHEMA {
            sqlx::query(statement).execute(&pool).await?;
        }
        Ok(Self { pool })
    }

    /// Books under `reference`, or says why not. Whole or not at all; safe against two callers at once.
    ///
    /// # Errors
    /// Storage failures only.
    pub async fn book(
        &self,
        wanted: &Wanted,
        key: Option<&str>,
        now: DateTime,
        reference: &str,
    ) -> sqlx::Result<Booked> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(key) = key
            && let Some(earlier) = by_key(&mut transaction, key).await?
        {
            return Ok(if wanted.is(&earlier) { Booked::Repeated(earlier) } else { Booked::KeyReused });
        }
        let taken = taken(&mut transaction, wanted.date).await?;
        if let Err(why) = calendar::check(wanted.date, wanted.time, &taken, now) {
            let free = calendar::free(wanted.date, &taken, now);
            let alternatives = calendar::nearest(&free, wanted.time);
            let next = if alternatives.is_empty() {
                next_free(&mut transaction, wanted.date.max(now.date()), now).await?
            } else {
                None
            };
            return Ok(Booked::Unavailable { why, alternatives, next });
        }
        let row = sqlx::query(
            "INSERT INTO bookings (reference, name, date, time, phone) VALUES (?, ?, ?, ?, ?)
             RETURNING id, reference, name, date, time, phone",
        )
        .bind(reference)
        .bind(&wanted.name)
        .bind(wanted.date.to_string())
        .bind(clock(wanted.time))
        .bind(&wanted.phone)
        .fetch_one(&mut *transaction)
        .await?;
        let booking = booking(&row)?;
        if let Some(key) = key {
            sqlx::query("INSERT INTO idempotency_keys (key, booking) VALUES (?, ?)")
                .bind(key)
                .bind(booking.id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Booked::Created(booking))
    }

    /// The booking with this reference, in any case of letters.
    ///
    /// # Errors
    /// Storage failures only.
    pub async fn by_reference(&self, reference: &str) -> sqlx::Result<Option<Booking>> {
        sqlx::query("SELECT id, reference, name, date, time, phone FROM bookings WHERE reference = ?")
            .bind(reference.to_ascii_uppercase())
            .fetch_optional(&self.pool)
            .await?
            .map(|row| booking(&row))
            .transpose()
    }

    /// A day's bookings in the order of the day.
    ///
    /// # Errors
    /// Storage failures only.
    pub async fn on(&self, date: Date) -> sqlx::Result<Vec<Booking>> {
        sqlx::query("SELECT id, reference, name, date, time, phone FROM bookings WHERE date = ? ORDER BY time")
            .bind(date.to_string())
            .fetch_all(&self.pool)
            .await?
            .iter()
            .map(booking)
            .collect()
    }

    /// A day's free appointments that are still to come.
    ///
    /// # Errors
    /// Storage failures only.
    pub async fn free_on(&self, date: Date, now: DateTime) -> sqlx::Result<Vec<Time>> {
        let mut connection = self.pool.acquire().await?;
        Ok(calendar::free(date, &taken(&mut connection, date).await?, now))
    }

    /// Closes the database; the file is whole afterwards.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn by_key(connection: &mut SqliteConnection, key: &str) -> sqlx::Result<Option<Booking>> {
    sqlx::query(
        "SELECT id, reference, name, date, time, phone FROM bookings
         JOIN idempotency_keys ON booking = id WHERE key = ?",
    )
    .bind(key)
    .fetch_optional(connection)
    .await?
    .map(|row| booking(&row))
    .transpose()
}

async fn taken(connection: &mut SqliteConnection, date: Date) -> sqlx::Result<BTreeSet<Time>> {
    let rows =
        sqlx::query("SELECT time FROM bookings WHERE date = ?").bind(date.to_string()).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get::<String, _>("time")?.parse().ok())).filter_map(Result::transpose).collect()
}

/// The first free appointment on the days after `after`.
async fn next_free(
    connection: &mut SqliteConnection,
    after: Date,
    now: DateTime,
) -> sqlx::Result<Option<(Date, Time)>> {
    let mut date = after;
    for _ in 0..calendar::HORIZON_DAYS {
        let Ok(tomorrow) = date.tomorrow() else { return Ok(None) };
        date = tomorrow;
        if !calendar::is_open_on(date) {
            continue;
        }
        let taken = taken(connection, date).await?;
        if let Some(time) = calendar::free(date, &taken, now).first() {
            return Ok(Some((date, *time)));
        }
    }
    Ok(None)
}

fn booking(row: &SqliteRow) -> sqlx::Result<Booking> {
    Ok(Booking {
        id: row.try_get("id")?,
        reference: row.try_get("reference")?,
        name: row.try_get("name")?,
        date: row.try_get("date")?,
        time: row.try_get("time")?,
        phone: row.try_get("phone")?,
    })
}

/// Draws what a new booking will be known by.
pub fn new_reference(random: &mut Random) -> String {
    (0..REFERENCE_CHARS)
        .map(|_| char::from(REFERENCE_ALPHABET[random.below(REFERENCE_ALPHABET.len() as u64) as usize]))
        .collect()
}
