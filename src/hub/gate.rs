//! Who may ask. Pure: decided from the headers of one request.
//!
//! Through a socket with a name the kernel has said who asks. By TCP any program of the machine may, and so may any web page its browser shows:
//! the token keeps out the first, Host and Origin the second (R10.13-f).

use super::answer::Problem;
use bundle_format::error::Code;
use data_encoding::BASE64;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::{Digest as _, Sha256};

/// Addresses that tell no secret and need no token.
const OPEN: &[&str] = &["/healthz", "/readyz"];

/// What stands before one listener.
pub enum Gate {
    /// Only our own user can reach it.
    OwnUser,
    /// Any program of this machine can.
    Token {
        /// What it must show.
        token: String,
        /// Values of Host that mean us.
        hosts: Vec<String>,
    },
}

impl Gate {
    /// For a listener at `address`, IP and port.
    pub fn token(token: String, address: &str) -> Self {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        let hosts = [address.to_owned(), format!("localhost:{port}")];
        Self::Token { token, hosts: hosts.into() }
    }

    /// Let a request in, or say why not.
    ///
    /// # Errors
    /// Z434, Z435.
    pub fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        let Self::Token { token, hosts } = self else { return Ok(()) };
        let said = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let host = said(HOST).next().unwrap_or_default();
        if said(HOST).count() != 1 || !hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Problem::new(Code::Z435, format!("host {host:?}")));
        }
        let ours = |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| hosts.iter().any(|own| own.eq_ignore_ascii_case(origin)));
        if let Some(foreign) = said(ORIGIN).find(|origin| !ours(origin)) {
            return Err(Problem::new(Code::Z435, format!("origin {foreign:?}")));
        }
        let shown = said(AUTHORIZATION).next().and_then(|value| value.split_once(' ')).and_then(|(scheme, shown)| shown_token(scheme, shown.trim()));
        // Digests are compared: how long it takes tells nothing of the token.
        let right = shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(token));
        if right || OPEN.contains(&path) { Ok(()) } else { Err(Problem::new(Code::Z434, "")) }
    }
}

/// The token, as programs send it, or as a browser does when a person typed it as password under any name.
fn shown_token(scheme: &str, shown: &str) -> Option<String> {
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(shown.to_owned());
    }
    let typed = BASE64.decode(shown.as_bytes()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    String::from_utf8(typed).ok()?.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, headers: &[(&'static str, &str)]) -> Option<Code> {
        let gate = Gate::token("secret".into(), "127.0.0.1:7780");
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        gate.check(path, &headers).err().map(|problem| problem.code)
    }

    #[test]
    fn by_tcp_only_who_knows_the_token_and_means_us_is_let_in() {
        let good = ("authorization", "Bearer secret");
        let host = ("host", "127.0.0.1:7780");
        for (headers, want) in [
            (&[host, good][..], None),
            (&[("host", "LOCALHOST:7780"), ("authorization", "bearer secret")], None),
            (&[host, good, ("origin", "http://localhost:7780")], None),
            (&[host], Some(Code::Z434)),
            (&[host, ("authorization", "Bearer secre")], Some(Code::Z434)),
            (&[host, ("authorization", "Basic secret")], Some(Code::Z434)),
            (&[host, ("authorization", "Basic cGVyc29uOnNlY3JldA==")], None), // person:secret
            (&[host, ("authorization", "Basic cGVyc29uOnNlY3JlCg==")], Some(Code::Z434)),
            (&[host, ("authorization", "Bearer cGVyc29uOnNlY3JldA==")], Some(Code::Z434)),
            (&[good], Some(Code::Z435)),
            (&[("host", "evil.example:7780"), good], Some(Code::Z435)),
            (&[host, ("host", "evil.example"), good], Some(Code::Z435)),
            (&[host, good, ("origin", "http://evil.example")], Some(Code::Z435)),
            (&[host, good, ("origin", "null")], Some(Code::Z435)),
        ] {
            assert_eq!(check("/v1/events", headers), want, "{headers:?}");
        }
    }

    #[test]
    fn health_needs_no_token_but_still_the_right_host() {
        assert_eq!(check("/healthz", &[("host", "localhost:7780")]), None);
        assert_eq!(check("/healthz", &[("host", "evil.example")]), Some(Code::Z435));
    }
}
