//! Messages about a client whose server is named by an environment variable.

use vchan::Vchan;

use crate::meet::Point;

/// The server that was reached.
pub fn description(variable: &str, vchan: &Vchan) -> String {
    format!("connected by {variable} to the server at {}", vchan.path())
}

/// A warning if it is not the requested server, where the server says which it is. The variable may be stale.
pub fn warning(variable: &str, requested: &Point, vchan: &Vchan) -> Option<String> {
    let (served, requested) = (vchan.path(), requested.to_string());
    let is_known = served != vchan.rendezvous().event_channel;
    let is_requested = served == requested || served.ends_with(&format!("/{requested}"));
    (is_known && !is_requested).then(|| {
        format!(
            "{variable} points to the server at {served}, not to {requested}; unset it to use DOMID and PORT"
        )
    })
}
