//! What is answered over HTTP: on one thread, to a bounded number of others.

use super::connection::Impatient;
use super::metrics::{CONTENT_TYPE, Now};
use super::page::{self, Place};
use super::status::Status;
use super::{Watched, Watching, door};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::unfold;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tftpkit::limits;
use tftpkit::query::Query;
use tftpkit::store::{Listing, Store, StoreError};
use tftpkit::wire::Operation;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How often it is looked at what is under way.
const LOOKS: Duration = Duration::from_secs(1);
/// Where the system has no descriptor for a connection, it may have one later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What all answers share.
struct App {
    watching: Arc<Watching>,
    watched: Watched,
    /// What those are told who follow.
    news: watch::Sender<Arc<str>>,
    followers: Arc<Semaphore>,
    /// One listing at a time: a disk that hangs keeps one thread.
    disk: Arc<Semaphore>,
}

/// Answers for as long as the process lives.
pub(super) fn run(watching: &Arc<Watching>, watched: Watched) -> io::Result<()> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().max_blocking_threads(1).build()?;
    let app = Arc::new(App {
        watching: Arc::clone(watching),
        watched,
        news: watch::Sender::new("".into()),
        followers: Arc::new(Semaphore::new(limits::PAGE_FOLLOWERS)),
        disk: Arc::new(Semaphore::new(1)),
    });
    let listener = watching.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        tokio::spawn(look(Arc::clone(&app)));
        accept(TcpListener::from_std(listener)?, &routes(app)).await;
        Ok(())
    })
}

/// Looks at what is under way, and tells those who follow.
async fn look(app: Arc<App>) {
    let mut looks = interval(LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        app.watching.figures.look(&app.watched.handle);
        if app.news.receiver_count() > 0 {
            app.news.send_replace(app.status().into());
        }
    }
}

async fn accept(listener: TcpListener, router: &Router) {
    let places = Arc::new(Semaphore::new(limits::PAGE_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Who finds no place is gone at once, and may ask again.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(limits::PAGE_HEAD);
            http.max_buf_size(limits::PAGE_HEAD_BYTES);
            let stream = Impatient::new(stream, limits::PAGE_STALL);
            // How it ends concerns nobody here.
            let _ = http.serve_connection(stream, service).await;
        });
    }
}

fn routes(app: Arc<App>) -> Router {
    let names = app.watching.names.clone().into();
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(show))
        .route("/status.json", get(status))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route("/icon.svg", file("image/svg+xml", include_str!("icon.svg")))
        .with_state(app)
        .layer(from_fn_with_state(names, door::keep))
}

impl App {
    fn status(&self) -> String {
        serde_json::to_string(&self.known()).unwrap_or_default()
    }

    fn known(&self) -> Status {
        let gauges = self.watched.handle.gauges();
        self.watching.figures.status(gauges, &self.watched.listening)
    }
}

async fn show(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let directory = page::directory(uri.query().unwrap_or_default());
    let place = match app.watched.policy.listed() {
        None => Place::Closed,
        Some(store) => {
            match list(&app.disk, limits::PAGE_LISTING, store, directory.clone()).await {
                Ok(listing) => Place::Listed(directory, listing),
                Err(why) => Place::Unknown(directory, why),
            }
        }
    };
    let found = match &place {
        Place::Unknown(directory, _) if !directory.is_empty() => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let html = page::html(&app.known(), &place);
    (found, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

/// Lists a directory of the folder, whatever the rules are: they are about clients. The disk is waited for elsewhere,
/// twice for `patience` at most: until another listing is done, and for this one.
async fn list(
    disk: &Arc<Semaphore>,
    patience: Duration,
    store: Arc<dyn Store>,
    directory: Vec<u8>,
) -> Result<Listing, String> {
    let slow = || "the disk takes its time: try again".to_owned();
    let disk = timeout(patience, Arc::clone(disk).acquire_owned()).await;
    let disk = disk.map_err(|_| slow())?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let query = Query::new((here, 1).into(), here, Operation::List, directory);
    let listing = tokio::task::spawn_blocking(move || {
        let _disk = disk;
        store.list(&query)
    });
    match timeout(patience, listing).await {
        Ok(Ok(listing)) => listing.map_err(|error: StoreError| error.to_string()),
        Ok(Err(_)) | Err(_) => Err(slow()),
    }
}

async fn status(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.status()).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let Watched { handle, policy, lost, .. } = &app.watched;
    let rules = policy.turned_away();
    let lines_lost = lost.dropped_lines() as u64;
    let now = Now { gauges: handle.gauges(), rules: &rules, lines_lost };
    let text = app.watching.figures.metrics(&now);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

/// One who follows: what is new, and the place that he has.
type Follower = (Option<String>, watch::Receiver<Arc<str>>, OwnedSemaphorePermit);

/// What happens, once in a second, for as long as somebody takes it (server-sent events).
async fn events(State(app): State<Arc<App>>) -> Response {
    let Ok(place) = Arc::clone(&app.followers).try_acquire_owned() else {
        let headers = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers).into_response();
    };
    let follower: Follower = (Some(app.status()), app.news.subscribe(), place);
    let events = unfold(follower, |(first, mut news, place)| async move {
        let status = match first {
            Some(first) => first,
            None => {
                news.changed().await.ok()?;
                news.borrow_and_update().to_string()
            }
        };
        let event = Ok::<_, io::Error>(format!("data: {status}\n\n"));
        Some((event, (None, news, place)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, mpsc};
    use tftpkit::store::Readable;

    /// A disk that hangs until nobody holds the other end, and how often it was asked.
    struct Hangs(Mutex<mpsc::Receiver<()>>, Arc<AtomicUsize>);

    impl Store for Hangs {
        fn read(&self, _: &Query) -> Result<Readable, StoreError> {
            Err(StoreError::NotFound)
        }

        fn list(&self, _: &Query) -> Result<Listing, StoreError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            let _ = self.0.lock().expect("no panic").recv();
            Err(StoreError::NotFound)
        }
    }

    #[test]
    fn a_disk_that_hangs_is_asked_once_however_often_the_page_is_loaded() {
        // It goes last: it waits for the threads that wait for the disk.
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let ((hangs, until), asked) = (mpsc::channel(), Arc::new(AtomicUsize::new(0)));
        let store: Arc<dyn Store> = Arc::new(Hangs(Mutex::new(until), Arc::clone(&asked)));
        let disk = Arc::new(Semaphore::new(1));
        let listed = |patience| {
            let listed = list(&disk, patience, Arc::clone(&store), b"".to_vec());
            runtime.block_on(listed).expect_err("there is nothing")
        };
        for _ in 0..3 {
            let why = listed(Duration::from_millis(20));
            assert_eq!(why, "the disk takes its time: try again");
        }
        assert!(asked.load(Ordering::SeqCst) <= 1, "each load of the page costs a thread");
        drop(hangs);
        assert_eq!(listed(Duration::from_secs(10)), StoreError::NotFound.to_string());
    }
}
