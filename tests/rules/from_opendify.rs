//! The page for those who come from OpenDify: each row is a test that exists, the two languages have the same
//! rows, and nothing that OpenDify's document has is missing.

use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 2] = ["docs/from-opendify.md", "docs/from-opendify.zh-CN.md"];

/// Commands, files, variables and endpoints of OpenDify's document for production.
const THEIRS: &[&str] = &[
    "python main.py",
    "pip install -r requirements.txt",
    "export DIFY_API_BASE",
    "export MODEL_CONFIG",
    "./start_production.sh",
    "./start_development.sh",
    "scp opendify.tar.gz deploy.sh",
    "docker load < opendify.tar.gz",
    "./deploy.sh setup",
    "./deploy.sh setup --env-file .env.production",
    ".env.staging",
    ".env.development",
    "./deploy.sh deploy",
    "./deploy.sh status",
    "./deploy.sh logs",
    "./deploy.sh update",
    "./deploy.sh stop",
    "cp .env.example .env",
    "docker-compose up -d",
    "docker-compose logs -f opendify",
    "docker-compose -f docker-compose.dev.yml up -d",
    "docker-compose.yml",
    "gunicorn_config.py",
    "bind = ",
    "workers = ",
    "worker_class",
    "timeout = 30",
    "keepalive = 2",
    "max_requests",
    "max_requests_jitter",
    "preload_app",
    "--bind",
    "--workers",
    "--timeout 60",
    "--keepalive 2",
    "DIFY_API_BASE",
    "DIFY_API_KEYS",
    "MODEL_CONFIG",
    "VALID_API_KEYS",
    "SERVER_HOST",
    "SERVER_PORT",
    "ENVIRONMENT=production",
    "ENVIRONMENT=development",
    "GUNICORN_WORKERS",
    "GUNICORN_RELOAD",
    "LOG_LEVEL",
    "HTTP_TIMEOUT",
    "CONVERSATION_MEMORY_MODE",
    "./data:/app/data",
    "./logs:/app/logs",
    "max_connections",
    "max_keepalive_connections",
    "access_log_format",
    "accesslog",
    "errorlog",
    "logging.basicConfig",
    "curl -f http://localhost:5000/v1/models",
    "curl http://localhost:5000/v1/conversation/mappings",
    "ps aux \\| grep gunicorn",
    "netstat -tlnp \\| grep 5000",
    "docker stats opendify",
    "htop",
    "iotop",
    "upstream opendify_backend",
    "replicas: 3",
    "containerPort: 5000",
    "python -c ",
    "gunicorn --check-config gunicorn_config.py",
    "gunicorn --workers 1 --reload --log-level debug main:app",
    "killall gunicorn",
    "tail -f logs/gunicorn.log",
    "HTTPS",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a page's tables: what OpenDify has, and the test. The tests of a table are a comment behind it, a line
/// for each row, which operators do not see.
fn rows(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (mut rows, mut table) = (Vec::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(row) = line.strip_prefix("| ") {
            table.push(row.split(" | ").next().unwrap().to_owned());
        } else if line.starts_with("<!-- ") {
            let tests: Vec<_> = lines.by_ref().take_while(|line| *line != "-->").collect();
            // The first of a table is its head.
            assert_eq!(table.len(), tests.len() + 1, "{page}: {table:?}");
            rows.extend(table.drain(..).skip(1).zip(tests.into_iter().map(str::to_owned)));
        } else {
            let is_within = table.is_empty() || line.is_empty() || line.starts_with("|--");
            assert!(is_within, "{page}: no tests are behind {table:?}");
        }
    }
    assert!(table.is_empty(), "{page}: no tests are behind {table:?}");
    rows
}

/// Whether a module of the integration tests, or of the program itself, has a test.
fn exists(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let module = module.replace("::", "/");
    let files = ["tests/it", "src"].map(|folder| root().join(folder).join(&module));
    let text = |file: &Path| fs::read_to_string(file.with_extension("rs")).unwrap_or_default();
    files.iter().any(|file| text(file).contains(&format!("fn {name}(")))
}

#[test]
fn each_row_is_a_test_that_exists_and_both_languages_have_it() {
    let [english, chinese] = PAGES.map(rows);
    assert!(english.len() > 50, "{}", english.len());
    for (theirs, test) in &english {
        assert!(exists(test), "{theirs}: {test}");
    }
    let tests = |rows: &[(String, String)]| -> Vec<String> {
        rows.iter().map(|(_, test)| test.clone()).collect()
    };
    assert_eq!(tests(&english), tests(&chinese));
}

#[test]
fn nothing_of_opendifys_document_is_missing() {
    for page in PAGES {
        let rows = rows(page);
        for theirs in THEIRS {
            assert!(rows.iter().any(|(left, _)| left.contains(theirs)), "{page}: {theirs}");
        }
    }
}
