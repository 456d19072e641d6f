//! Where `serve --http` listens, and the token of those who come by TCP.

use super::escape::plain_path;
use super::halt::Halt;
use super::object::Object;
use super::standing::Stay;
use super::{Context, open_tables};
use crate::hub::{Gate, Hub, Line};
use crate::node::NodeError;
use crate::node::layout::Layout;
use crate::ports::disk::{read_small, replace};
use crate::ports::entropy::random;
use crate::push::schema::Schema;
use bundle_format::error::Code;
use bundle_format::ids::hex;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A token is 64 digits and a newline; a person may write another.
const TOKEN_LEN_MAX: usize = 1024;
/// How long everybody waits while another program writes into the tables: then they are tried again a little later.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Address {
    /// A socket with a name; none: in the data directory.
    Unix(Option<PathBuf>),
    /// Loopback TCP.
    Tcp(SocketAddr),
}

/// From the command line. Other machines are refused: what passes is not secret on the way.
pub fn address(text: &str) -> Result<Address, String> {
    match text.strip_prefix("unix:") {
        _ if text == "unix" => return Ok(Address::Unix(None)),
        Some(path) if !path.is_empty() => return Ok(Address::Unix(Some(path.into()))),
        _ => {}
    }
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = named.as_deref().unwrap_or(text).parse::<SocketAddr>();
    let loopback = address.ok().filter(|address| address.ip().is_loopback());
    loopback.map(Address::Tcp).ok_or_else(|| format!("{}: {}", Code::Z437, Code::Z437.row().hint))
}

/// The folder outside the data directory that a socket is made in.
pub fn folder(address: &Address) -> Option<PathBuf> {
    let Address::Unix(Some(path)) = address else { return None };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).to_owned())
}

/// Keep the tables in step with the log, and listen at every address, until told to end.
pub async fn listen(context: &mut Context, stay: &Stay, addresses: &[Address], schema: Option<Schema>) -> Result<Vec<JoinHandle<()>>, Halt> {
    let mut listening = Vec::new();
    let index = Layout::new(&context.data_dir()).index();
    let open = Box::new(move || open_tables(&index, false, PATIENCE));
    let hub = Hub::new(Rc::clone(&stay.standing), &context.ports, context.data_dir(), open, schema, stay.stop.clone());
    listening.push(tokio::task::spawn_local(Rc::clone(&hub).keep_up()));
    for address in addresses {
        let (line, gate, at) = match address {
            Address::Unix(path) => {
                let path = path.clone().unwrap_or_else(|| Layout::new(&context.data_dir()).http());
                let listener = context.ports.local.listen(&path).map_err(|error| NodeError::writing(&path, error))?;
                (Line::Local(listener), Gate::OwnUser, format!("unix:{}", plain_path(&path)))
            }
            Address::Tcp(address) => {
                let refused = |error| Halt::new(Code::Z501, format!("cannot listen at {address}: {error}"));
                let listener = context.ports.net.listen(&address.to_string()).await.map_err(refused)?;
                let at = listener.address().map_err(refused)?;
                (Line::Tcp(listener), Gate::token(token(context)?, &at), format!("http://{at}"))
            }
        };
        context.console.result(&format!("HTTP at {at}"), || Object::of("http").with("address", &at))?;
        listening.push(tokio::task::spawn_local(Rc::clone(&hub).serve(line, gate)));
    }
    Ok(listening)
}

/// The token in the data directory; made when there is none.
fn token(context: &Context) -> Result<String, Halt> {
    let (disk, path) = (&*context.ports.disk, Layout::new(&context.data_dir()).http_token());
    let kept = read_small(disk, &path, TOKEN_LEN_MAX).map_err(|error| NodeError::reading(&path, error))?;
    if let Some(token) = kept {
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let privacy = disk.privacy(&path).map_err(|error| NodeError::reading(&path, error))?;
        let short = (token.len() < 16).then(|| "a token has at least 16 characters".to_owned());
        let fault = short.or_else(|| privacy.fault());
        return fault.map_or(Ok(token), |fault| Err(Halt::new(Code::Z603, format!("{}: {fault}", plain_path(&path)))));
    }
    let token = hex(&random::<32>(&*context.ports.entropy));
    replace(disk, &path, format!("{token}\n").as_bytes()).map_err(|error| NodeError::writing(&path, error))?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_offered_on_this_machine_only() {
        for text in ["unix", "unix:/run/zbundle.sock", "127.0.0.1:0", "[::1]:7780", "localhost:7780"] {
            assert!(address(text).is_ok(), "{text}");
        }
        for text in ["", "unix:", "0.0.0.0:7780", "192.168.1.5:7780", "[::]:7780", "hub.example:7780", "127.0.0.1", "localhost"] {
            assert!(address(text).is_err_and(|why| why.contains("Z437")), "{text}");
        }
    }
}
