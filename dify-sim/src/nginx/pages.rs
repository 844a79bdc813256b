//! Pages that do not come from the API.

use crate::wire::head::Head;

pub(super) const SERVER: &str = "nginx/1.29.0";

/// One of nginx's own pages, after which it closes.
pub(super) fn page(status: u16, reason: &str) -> Vec<u8> {
    let body = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} \
         {reason}</h1></center>\r\n<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    );
    html(status, reason, "close", &body)
}

fn html(status: u16, reason: &str, connection: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: {SERVER}\r\nContent-Type: text/html; \
         charset=utf-8\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The web page, which knows no `/health`.
pub(super) fn web(head: &Head) -> Vec<u8> {
    let known = matches!(head.path().as_str(), "/" | "/apps" | "/signin" | "/install");
    let (status, reason) = if known { (200, "OK") } else { (404, "Not Found") };
    let title = if known { "Dify" } else { "404: This page could not be found." };
    let connection = if head.keep_alive() { "keep-alive" } else { "close" };
    let body =
        format!("<!DOCTYPE html><html lang=\"en-US\"><head><title>{title}</title></head></html>");
    let mut bytes = html(status, reason, connection, &body);
    if head.method == "HEAD" {
        bytes.truncate(bytes.len() - body.len());
    }
    bytes
}
