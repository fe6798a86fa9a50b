//! Who watches the server: metrics, the page, and `rtftpd top`, on an address of its own.
//!
//! It is told events, and looks at what is under way each second. No transfer waits for it, and all that it does for whoever
//! asks it does on one thread of its own.

mod connection;
mod door;
mod figures;
mod http;
mod metrics;
mod page;
mod status;
mod top;

pub(crate) use top::Top;

use crate::reload::Current;
use anyhow::{Context, Result};
use clap::Args;
use figures::Figures;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use tftpkit::limits;
use tftpkit::server::{Event, Handle};
use tracing_appender::non_blocking::ErrorCounter;

/// The options of it.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Show what the server does, and the folder itself whatever the rules are, on a page at http://ADDRESS:PORT/, and its
    /// metrics at /metrics; a port alone is for this machine only [default: off]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address, env = "RTFTPD_HTTP")]
    http: Option<SocketAddr>,

    /// A name by which browsers and monitors reach the page; may be given several times. Without it they do by address, or
    /// as localhost
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "http",
        env = "RTFTPD_HTTP_NAME"
    )]
    http_name: Vec<String>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |digits: &str| digits.parse::<u16>().ok();
    let local = text.strip_prefix("localhost:").unwrap_or(text);
    if let Some(port) = port(local) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        "write a port, or an address of this machine and a port, as in 8069, 192.0.2.1:8069 or '[::]:8069'"
            .into()
    })
}

/// Who is told what happens. It is nobody where no page was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Option<Arc<Watching>>);

#[derive(Debug)]
struct Watching {
    figures: Arc<Figures>,
    listener: TcpListener,
    address: SocketAddr,
    names: Vec<String>,
}

/// What the page tells of, beside what it is told.
pub(crate) struct Watched {
    pub(crate) handle: Handle,
    /// Where requests are taken.
    pub(crate) listening: Vec<SocketAddr>,
    pub(crate) policy: Current,
    /// Log lines that nobody read in time.
    pub(crate) lost: ErrorCounter,
}

impl WatchArgs {
    /// Binds the address, which may need a right that is given up later.
    pub(crate) fn bind(&self) -> Result<Watch> {
        let Some(address) = self.http else { return Ok(Watch::default()) };
        let what =
            || format!("cannot show a page at {address}: another program may have that port");
        let listener = TcpListener::bind(address).with_context(what)?;
        let address = listener.local_addr().context("cannot ask for an address")?;
        let (figures, names) = (Arc::new(Figures::new()), self.http_name.clone());
        Ok(Watch(Some(Arc::new(Watching { figures, listener, address, names }))))
    }
}

impl Watch {
    /// Where the page is, if there is one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.as_ref().map(|watching| watching.address)
    }

    /// How many descriptors it takes at most.
    pub(crate) fn descriptors(&self) -> u64 {
        /// The listener, twice, and what its loop waits with.
        const OWN: u64 = 8;
        self.0.as_ref().map_or(0, |_| OWN + limits::PAGE_CONNECTIONS as u64)
    }

    /// Something happened.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(watching) = &self.0 {
            watching.figures.tell(event);
        }
    }

    /// Starts the thread that answers.
    pub(crate) fn start(&self, watched: Watched) -> Result<()> {
        let Some(watching) = self.0.clone() else { return Ok(()) };
        let run = move || {
            if let Err(error) = http::run(&watching, watched) {
                tracing::error!(%error, "the page is gone");
            }
        };
        std::thread::Builder::new()
            .name("page".into())
            .spawn(run)
            .context("cannot start a thread")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_it_is_bound_and_its_connections_take_descriptors_of_the_server() {
        let bound = |http| WatchArgs { http, http_name: Vec::new() }.bind().expect("an address");
        let none = bound(None);
        assert_eq!((none.address(), none.descriptors()), (None, 0));
        let page = bound(Some((Ipv4Addr::LOCALHOST, 0).into()));
        assert!(page.address().is_some_and(|address| address.port() != 0), "{page:?}");
        let own = page.descriptors().checked_sub(limits::PAGE_CONNECTIONS as u64);
        assert_eq!(own, Some(8), "beside those of its connections");
    }

    #[test]
    fn a_port_alone_is_for_this_machine_and_others_are_told_by_their_address() {
        let of = |text| address(text).map(|address| address.to_string());
        for local in ["8069", "localhost:8069", "127.0.0.1:8069"] {
            assert_eq!(of(local), Ok("127.0.0.1:8069".into()), "{local}");
        }
        assert_eq!(of("[::]:8069"), Ok("[::]:8069".into()));
        for no_address in ["", ":8069", "example:8069", "65536", "192.0.2.1", "[::]"] {
            assert!(of(no_address).is_err_and(|why| why.contains("8069")), "{no_address}");
        }
    }
}
