//! The example booking service over real HTTP on loopback.

use jiff::civil::date;
use jiff::tz::TimeZone;
use offhook::cli::booking::{BookingService, BookingServiceArgs, BookingServiceError, run};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Service {
    url: String,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Service {
    /// Monday 23 November 2026, 10:10 in the morning.
    async fn start(database: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let monday = date(2026, 11, 23).at(10, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap();
        let service = BookingService::open(database, Arc::new(move || monday.clone())).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(service.serve(listener, async move {
            let _ = stopped.await;
        }));
        Self { url, client: Client::builder().no_proxy().build().unwrap(), stop: Some(stop), task }
    }

    async fn post(&self, body: &Value, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.client.post(format!("{}/bookings", self.url)).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }
}

fn anna(date: &str, time: &str) -> Value {
    json!({"name": "Anna Berg", "date": date, "time": time, "phone": "+1 (555) 013-4000"})
}

const MEMORY: &str = ":memory:";

#[tokio::test]
async fn a_booking_is_created_and_found_again_by_reference_and_by_day() {
    let service = Service::start(Path::new(MEMORY)).await;
    let (status, booking) = service.post(&anna("2026-11-24", "15:00"), None).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(booking["phone"], "+15550134000");
    let reference = booking["reference"].as_str().unwrap().to_owned();
    assert_eq!(reference.len(), 6);
    assert_eq!(service.get(&format!("/bookings/{reference}")).await, (StatusCode::OK, booking.clone()));
    assert_eq!(service.get(&format!("/bookings/{}", reference.to_lowercase())).await.0, StatusCode::OK);
    assert_eq!(service.get("/bookings?date=2026-11-24").await.1["bookings"], json!([booking]));
    assert_eq!(service.get("/bookings?date=2026-11-25").await.1["bookings"], json!([]));
    let (status, body) = service.get("/bookings/ZZZZZZ").await;
    assert_eq!((status, &body["error"]), (StatusCode::NOT_FOUND, &json!("unknown_reference")));
}

#[tokio::test]
async fn a_taken_or_closed_time_is_refused_with_alternatives_that_can_be_booked() {
    let service = Service::start(Path::new(MEMORY)).await;
    assert_eq!(service.post(&anna("2026-11-24", "15:00"), None).await.0, StatusCode::CREATED);
    for (time, reason, alternatives) in [
        ("15:00", "taken", ["14:00", "14:30", "15:30"]),
        ("18:00", "closed", ["15:30", "16:00", "16:30"]),
        ("8:00", "closed", ["09:00", "09:30", "10:00"]),
        ("10:10", "not_a_slot", ["09:30", "10:00", "10:30"]),
    ] {
        let (status, body) = service.post(&anna("2026-11-24", time), None).await;
        assert_eq!(status, StatusCode::CONFLICT, "{time}");
        assert_eq!(body["error"], reason, "{time}");
        assert_eq!(body["alternatives"], json!(alternatives), "{time}");
        assert_eq!(body["next"], Value::Null);
    }
    let (_, weekend) = service.post(&anna("2026-11-28", "15:00"), None).await;
    assert_eq!(weekend["error"], "closed");
    assert_eq!(weekend["alternatives"], json!([]));
    assert_eq!(weekend["next"], json!({"date": "2026-11-30", "time": "09:00"}));
    let (_, past) = service.post(&anna("2026-11-23", "9:00"), None).await;
    assert_eq!((past["error"].as_str(), past["alternatives"][0].as_str()), (Some("past"), Some("10:30")));
    assert_eq!(service.post(&anna("2026-11-24", "15:30"), None).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn availability_leaves_out_what_is_taken_and_what_has_passed() {
    let service = Service::start(Path::new(MEMORY)).await;
    service.post(&anna("2026-11-23", "10:30"), None).await;
    let (_, today) = service.get("/availability?date=2026-11-23").await;
    assert_eq!(today["free"][0], "11:00");
    assert_eq!(today["free"].as_array().unwrap().len(), 12);
    let (_, saturday) = service.get("/availability?date=2026-11-28").await;
    assert_eq!((&saturday["open"], &saturday["free"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn a_retried_request_gets_the_same_booking_and_books_once() {
    let service = Service::start(Path::new(MEMORY)).await;
    let first = service.post(&anna("2026-11-24", "15:00"), Some("call-1/book")).await;
    let again = service.post(&anna("2026-11-24", "15:00"), Some("call-1/book")).await;
    assert_eq!(first, again);
    assert_eq!(first.0, StatusCode::CREATED);
    let (status, body) = service.post(&anna("2026-11-24", "16:00"), Some("call-1/book")).await;
    assert_eq!((status, &body["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("Idempotency-Key")));
    assert_eq!(service.get("/bookings?date=2026-11-24").await.1["bookings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn of_ten_callers_who_want_the_same_time_at_once_one_gets_it() {
    let service = Arc::new(Service::start(Path::new(MEMORY)).await);
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let service = Arc::clone(&service);
            tokio::spawn(async move { service.post(&anna("2026-11-24", "15:00"), None).await.0 })
        })
        .collect();
    let mut created = 0;
    for caller in callers {
        match caller.await.unwrap() {
            StatusCode::CREATED => created += 1,
            status => assert_eq!(status, StatusCode::CONFLICT),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn the_field_at_fault_is_named() {
    let service = Service::start(Path::new(MEMORY)).await;
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("12345")),
        ("name", json!("x".repeat(81))),
        ("name", json!(7)),
        ("name", json!("Anna\u{7}")),
        ("date", json!("tomorrow")),
        ("date", json!("2026-13-01")),
        ("date", json!("2026-11-20")),
        ("date", json!("2029-01-01")),
        ("date", json!("2026-11-24T15:00")),
        ("time", json!("3 pm")),
        ("time", json!("25:00")),
        ("phone", json!("call me")),
        ("phone", json!("12")),
        ("phone", json!("1234567890123456")),
    ] {
        let mut body = anna("2026-11-24", "15:00");
        body[field] = value.clone();
        let (status, answer) = service.post(&body, None).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        assert_eq!(answer["field"], field, "{value}");
        let mut body = anna("2026-11-24", "15:00");
        body.as_object_mut().unwrap().remove(field);
        assert_eq!(service.post(&body, None).await.1["field"], field);
    }
    for path in ["/availability", "/availability?date=x", "/bookings?date=2026-02-30", "/bookings?day=2026-11-24"] {
        let (status, answer) = service.get(path).await;
        assert_eq!((status, &answer["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("date")), "{path}");
    }
    assert_eq!(service.get("/bookings?date=2026-11-24").await.1["bookings"], json!([]), "nothing was booked");
}

#[tokio::test]
async fn a_body_that_is_large_or_no_json_is_refused() {
    let service = Service::start(Path::new(MEMORY)).await;
    let post = |body: String, content_type: &'static str| {
        let request = service.client.post(format!("{}/bookings", service.url));
        async move { request.header("Content-Type", content_type).body(body).send().await.unwrap().status() }
    };
    assert_eq!(post("{".into(), "application/json").await, StatusCode::BAD_REQUEST);
    assert_eq!(post("[]".into(), "application/json").await, StatusCode::UNPROCESSABLE_ENTITY);
    let form = "text/plain";
    assert_eq!(post(anna("2026-11-24", "15:00").to_string(), form).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = json!({"name": "x".repeat(9000)}).to_string();
    assert_eq!(post(large, "application/json").await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_web_page_cannot_reach_the_service_under_a_name_of_its_own() {
    let service = Service::start(Path::new(MEMORY)).await;
    for (host, expected) in [
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.1.evil.example:80", StatusCode::MISDIRECTED_REQUEST),
        ("localhost:8089", StatusCode::OK),
        ("[::1]:8089", StatusCode::OK),
    ] {
        let request = service.client.get(format!("{}/bookings?date=2026-11-24", service.url));
        assert_eq!(request.header("Host", host).send().await.unwrap().status(), expected, "{host}");
    }
}

#[tokio::test]
async fn bookings_survive_a_restart_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("bookings.sqlite");
    let service = Service::start(&database).await;
    let (_, booking) = service.post(&anna("2026-11-24", "15:00"), Some("k")).await;
    service.stop().await;
    let service = Service::start(&database).await;
    assert_eq!(service.get("/bookings?date=2026-11-24").await.1["bookings"], json!([booking]));
    assert_eq!(service.post(&anna("2026-11-24", "15:00"), Some("k")).await.1, booking);
    service.stop().await;
}

#[tokio::test]
async fn other_machines_and_broken_databases_are_refused_at_start() {
    let args = |listen: &str, database: &Path| BookingServiceArgs {
        listen: listen.parse().unwrap(),
        database: database.to_owned(),
        danger_allow_remote: false,
    };
    let open = run(args("0.0.0.0:0", Path::new(MEMORY))).await.unwrap_err();
    assert!(matches!(open, BookingServiceError::NotLoopback(_)));
    let folder = tempfile::tempdir().unwrap();
    let error = run(args("127.0.0.1:0", folder.path())).await.unwrap_err();
    assert!(matches!(error, BookingServiceError::Database { .. }), "a folder is no database");
}
