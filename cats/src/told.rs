//! What is said of a client that a variable in its environment led to its server.

use vchan::Vchan;

use crate::meet::Point;

/// Which server it has met.
pub fn description(variable: &str, vchan: &Vchan) -> String {
    format!("connected by {variable} to the server at {}", vchan.path())
}

/// That it is another one than was asked for, where the server says which it is. The variable may be an old one.
pub fn warning(variable: &str, asked: &Point, vchan: &Vchan) -> Option<String> {
    let (served, asked) = (vchan.path(), asked.to_string());
    let is_known = served != vchan.rendezvous().event_channel;
    let is_asked = served == asked || served.ends_with(&format!("/{asked}"));
    (is_known && !is_asked).then(|| {
        format!(
            "{variable} leads to the server at {served}, not to {asked}; unset it to go by DOMID and PORT"
        )
    })
}
