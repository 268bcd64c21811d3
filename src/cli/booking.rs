//! `offhook booking-service`: the small appointment book that the example agent talks to.
//!
//! It stands for the customer's own system: plain HTTP and JSON, SQLite, no part of the telephony.
//! `offhook demo` starts it inside its own process.
//!
//! | request | answer |
//! |---|---|
//! | `POST /bookings` `{name, date, time, phone}` | 201 the booking; 409 `{error, alternatives, next}`; 422 `{error, field, message}` |
//! | `GET /bookings/{reference}` | 200 the booking, or 404 |
//! | `GET /bookings?date=2026-11-24` | 200 `{date, bookings}` |
//! | `GET /availability?date=2026-11-24` | 200 `{date, open, free}` |
//!
//! A repeated `POST` with the same `Idempotency-Key` and details answers with the booking it made the
//! first time.

pub mod calendar;
pub mod store;

use crate::agent::value::{clock, parse_clock};
use crate::base::Random;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Zoned;
use jiff::civil::{Date, Time};
use serde_json::{Map, Value, json};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Booked, Booking, Store};
use tokio::net::TcpListener;

/// Largest request body: a booking has a few hundred bytes.
const BODY_BYTES: usize = 8 * 1024;
/// Longest name, in characters.
const NAME_CHARS: usize = 80;
/// Fewest digits of a phone number: an extension.
const PHONE_DIGITS_MIN: usize = 3;
/// Most digits of a phone number (E.164).
const PHONE_DIGITS_MAX: usize = 15;
/// Longest `Idempotency-Key`, in bytes.
const KEY_BYTES: usize = 128;

/// Keeps appointments for the example agent: HTTP and JSON in front of SQLite.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  offhook booking-service --listen 127.0.0.1:8089 --database bookings.sqlite")]
pub struct BookingServiceArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8089", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// SQLite file, made when missing; `:memory:` keeps nothing
    #[arg(long, default_value = "bookings.sqlite", value_name = "FILE")]
    pub database: PathBuf,
    /// Serve other machines too: there is no log-in, whoever reaches the port reads and makes bookings
    #[arg(long)]
    pub danger_allow_remote: bool,
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookingServiceError {
    /// The database cannot be opened. The operator's path or file is at fault.
    #[error("cannot open the database {path}: {source}", path = path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address is reachable from other machines.
    #[error("{0} is not a loopback address and the service has no log-in; use 127.0.0.1 or --danger-allow-remote")]
    NotLoopback(SocketAddr),
}

/// Tells the local time of the clinic; injected, so that tests choose the day.
pub type Clock = Arc<dyn Fn() -> Zoned + Send + Sync>;

/// The service, ready to be served.
#[derive(Clone)]
pub struct BookingService {
    store: Store,
    clock: Clock,
    random: Arc<Mutex<Random>>,
}

/// A checked wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// For whom.
    pub name: String,
    /// Which day.
    pub date: Date,
    /// Which time of day.
    pub time: Time,
    /// Digits with an optional `+`.
    pub phone: String,
}

impl Wanted {
    /// Whether `booking` has exactly these details.
    fn is(&self, booking: &Booking) -> bool {
        self.name == booking.name
            && self.date.to_string() == booking.date
            && clock(self.time) == booking.time
            && self.phone == booking.phone
    }
}

/// Runs the subcommand until it is told to stop (Ctrl-C or SIGTERM). Prints one line with its URL.
///
/// # Errors
/// [`BookingServiceError`].
pub async fn run(args: BookingServiceArgs) -> Result<(), BookingServiceError> {
    if !args.listen.ip().is_loopback() && !args.danger_allow_remote {
        return Err(BookingServiceError::NotLoopback(args.listen));
    }
    if args.danger_allow_remote {
        tracing::warn!(listen = %args.listen, switch = "danger_allow_remote", "booking_service_open_to_the_network");
    }
    let service = BookingService::open(&args.database, Arc::new(Zoned::now)).await?;
    let at_fault = |source| BookingServiceError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(at_fault)?;
    println!("booking service on http://{}", listener.local_addr().map_err(at_fault)?);
    service.serve(listener, asked_to_stop()).await.map_err(at_fault)
}

async fn asked_to_stop() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

impl BookingService {
    /// Opens the database (`:memory:` keeps nothing).
    ///
    /// # Errors
    /// [`BookingServiceError::Database`].
    pub async fn open(database: &Path, clock: Clock) -> Result<Self, BookingServiceError> {
        let store = Store::open(database)
            .await
            .map_err(|source| BookingServiceError::Database { path: database.to_owned(), source })?;
        Ok(Self { store, clock, random: Arc::new(Mutex::new(Random::system())) })
    }

    /// Serves until `stop` completes and requests under way are answered, then closes the database. A
    /// loopback listener answers requests for loopback hosts only, so that no web page can reach it under
    /// a name of its own (DNS rebinding).
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let store = self.store.clone();
        let mut router = Router::new()
            .route("/bookings", post(book).get(bookings_of_a_day))
            .route("/bookings/{reference}", get(one_booking))
            .route("/availability", get(availability))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(self);
        if listener.local_addr()?.ip().is_loopback() {
            router = router.layer(middleware::from_fn(refuse_foreign_hosts));
        }
        let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        store.close().await;
        served
    }
}

async fn refuse_foreign_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        next.run(request).await
    } else {
        refused(StatusCode::MISDIRECTED_REQUEST, json!({"error": "wrong_host"}))
    }
}

fn refused(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

fn storage_failed(error: &sqlx::Error) -> Response {
    tracing::error!(%error, "booking_storage_failed");
    refused(StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "storage"}))
}

/// Which field is wrong, and how to say so to a caller.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Invalid {
    field: &'static str,
    message: &'static str,
}

impl IntoResponse for Invalid {
    fn into_response(self) -> Response {
        let body = json!({"error": "invalid", "field": self.field, "message": self.message});
        refused(StatusCode::UNPROCESSABLE_ENTITY, body)
    }
}

async fn book(
    State(service): State<BookingService>,
    headers: HeaderMap,
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Response {
    let fields = match body {
        Ok(Json(fields)) => fields,
        Err(rejection) => return refused(rejection.status(), json!({"error": "not_json"})),
    };
    let now = (service.clock)().datetime();
    let checked = wanted(&fields, now.date()).and_then(|wanted| Ok((wanted, idempotency_key(&headers)?)));
    let (wanted, key) = match checked {
        Ok(checked) => checked,
        Err(invalid) => return invalid.into_response(),
    };
    let reference = store::new_reference(&mut service.random.lock().unwrap_or_else(PoisonError::into_inner));
    match service.store.book(&wanted, key, now, &reference).await {
        Ok(Booked::Created(booking)) => {
            let place = format!("/bookings/{}", booking.reference);
            let mut response = (StatusCode::CREATED, Json(booking)).into_response();
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        Ok(Booked::Repeated(booking)) => (StatusCode::CREATED, Json(booking)).into_response(),
        Ok(Booked::KeyReused) => {
            Invalid { field: "Idempotency-Key", message: "was used for other details before" }.into_response()
        }
        Ok(Booked::Unavailable { why, alternatives, next }) => {
            let alternatives: Vec<_> = alternatives.into_iter().map(clock).collect();
            let next = next.map(|(date, time)| json!({"date": date.to_string(), "time": clock(time)}));
            let body = json!({
                "error": why.reason(), "date": wanted.date.to_string(), "alternatives": alternatives, "next": next
            });
            refused(StatusCode::CONFLICT, body)
        }
        Err(error) => storage_failed(&error),
    }
}

async fn one_booking(State(service): State<BookingService>, UrlPath(reference): UrlPath<String>) -> Response {
    match service.store.by_reference(&reference).await {
        Ok(Some(booking)) => Json(booking).into_response(),
        Ok(None) => refused(StatusCode::NOT_FOUND, json!({"error": "unknown_reference"})),
        Err(error) => storage_failed(&error),
    }
}

fn day(query: Option<String>) -> Result<Date, Invalid> {
    query
        .as_deref()
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("date=")))
        .and_then(strict_date)
        .ok_or(Invalid { field: "date", message: DATE_FORM })
}

async fn bookings_of_a_day(State(service): State<BookingService>, RawQuery(query): RawQuery) -> Response {
    let date = match day(query) {
        Ok(date) => date,
        Err(invalid) => return invalid.into_response(),
    };
    match service.store.on(date).await {
        Ok(bookings) => Json(json!({"date": date.to_string(), "bookings": bookings})).into_response(),
        Err(error) => storage_failed(&error),
    }
}

async fn availability(State(service): State<BookingService>, RawQuery(query): RawQuery) -> Response {
    let date = match day(query) {
        Ok(date) => date,
        Err(invalid) => return invalid.into_response(),
    };
    match service.store.free_on(date, (service.clock)().datetime()).await {
        Ok(free) => {
            let free: Vec<_> = free.into_iter().map(clock).collect();
            Json(json!({"date": date.to_string(), "open": calendar::is_open_on(date), "free": free})).into_response()
        }
        Err(error) => storage_failed(&error),
    }
}

const DATE_FORM: &str = "must be a day like 2026-11-24";

fn strict_date(text: &str) -> Option<Date> {
    // Without this, a whole timestamp would count as its day.
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

fn wanted(fields: &Map<String, Value>, today: Date) -> Result<Wanted, Invalid> {
    let text = |field| {
        fields.get(field).and_then(Value::as_str).map(str::trim).ok_or(Invalid { field, message: "must be a text" })
    };
    let name = text("name")?;
    let name_fits = (1..=NAME_CHARS).contains(&name.chars().count());
    if !name_fits || name.chars().any(char::is_control) || !name.chars().any(char::is_alphabetic) {
        return Err(Invalid { field: "name", message: "must be a name of at most 80 characters" });
    }
    let date = strict_date(text("date")?).ok_or(Invalid { field: "date", message: DATE_FORM })?;
    if date < today {
        return Err(Invalid { field: "date", message: "is in the past" });
    }
    if today.until(date).is_ok_and(|span| i64::from(span.get_days()) > calendar::HORIZON_DAYS) {
        return Err(Invalid { field: "date", message: "is more than a year ahead" });
    }
    let time =
        parse_clock(text("time")?).ok_or(Invalid { field: "time", message: "must be a time of day like 15:00" })?;
    let phone =
        phone(text("phone")?).ok_or(Invalid { field: "phone", message: "must be a phone number of 3 to 15 digits" })?;
    Ok(Wanted { name: name.to_owned(), date, time, phone })
}

/// Drops what people write between digits; `None` when something else is in it or the length is wrong.
fn phone(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let good = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then_some(number)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Invalid> {
    headers
        .get("idempotency-key")
        .map(|key| key.to_str().ok().filter(|key| (1..=KEY_BYTES).contains(&key.len())))
        .map(|key| key.ok_or(Invalid { field: "Idempotency-Key", message: "must be 1 to 128 ASCII characters" }))
        .transpose()
}
