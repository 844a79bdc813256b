//! nginx from Debian, without modules that cost money.
//!
//! It has no health checks of its own, so all it knows is what requests tell it. Its best for this
//! work is therefore a short `fail_timeout`: an instance is out for two seconds after three
//! failures, and then one request of a user finds out whether it is back.

use rustix::process::Signal;

use crate::contender::{Contender, Scene, installed};

pub(super) const CONTENDER: Contender = Contender {
    name: "nginx",
    program: || installed("nginx"),
    version: &["-v"],
    token: super::APP_KEY,
    reload: Signal::HUP,
    configure,
};

fn configure(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let servers = scene.lines(|_, addr, weight| {
        format!("        server {addr} weight={weight} max_fails=3 fail_timeout=2s;\n")
    });
    // The folder is ours alone, so a worker that gave up its rights could not write there.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let text = TEMPLATE
        .replace("USER\n", user)
        .replace("FOLDER", &scene.folder.display().to_string())
        .replace("LISTEN", &scene.listen.to_string())
        .replace("        SERVERS\n", &servers);
    let path = scene.write("nginx.conf", &text)?;
    let error_log = scene.folder.join("error.log").display().to_string();
    Ok(["-e", &error_log, "-c", &path].map(str::to_owned).to_vec())
}

const TEMPLATE: &str = r"USER
daemon off;
worker_processes 2;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    client_max_body_size 100m;
    # Bodies stay in memory, and are complete before an instance is asked.
    client_body_buffer_size 256k;
    upstream dify {
        # What one worker learns, the others know.
        zone dify 256k;
        # nginx cannot read the user from a body; clients here send a header, too.
        hash $http_x_user consistent;
        SERVERS
        # Dify closes idle connections after two seconds.
        keepalive 64;
        keepalive_timeout 1s;
    }
    server {
        listen LISTEN reuseport backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_set_header Host $host;
        proxy_connect_timeout 1s;
        # Events go out as they come.
        proxy_buffering off;
        # A POST that was sent is not sent again: `non_idempotent` is not given.
        proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;
        proxy_next_upstream_tries 3;
        # Runs may take their time.
        location ~ ^/v1/(chat-messages|completion-messages|workflows/run)$ {
            proxy_read_timeout 1200s;
            proxy_pass http://dify;
        }
        location / {
            proxy_read_timeout 3s;
            proxy_pass http://dify;
        }
    }
}
";
