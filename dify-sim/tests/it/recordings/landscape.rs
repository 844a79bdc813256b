//! The apps and instances of the recordings, by the ports they had.

use dify_sim::{App, Dify, Field, FieldKind, Flow, Mode, Moderation, Pace, Release, Setup};
use std::collections::HashMap;
use std::time::Duration;

/// Instances by port.
pub(crate) type Instances = HashMap<u64, Dify>;

/// The instance whose app `slow-first` takes two runs at a time: in the recordings its number was
/// changed on the way.
pub(crate) const TWO_RUNS: u64 = 56312;
/// The second instance with a worker of one place, as it was for a while.
pub(crate) const ONE_PLACE: u64 = 56411;

fn app(mode: Mode, key: &str, flow: Flow, name: &str) -> App {
    App::new(mode, key).with_flow(flow).with_name(name)
}

/// 25 s of the recordings are 1.5 s here.
fn pace() -> Pace {
    Pace {
        second: Duration::from_millis(60),
        ping_interval: Duration::from_millis(600),
        linger: Duration::from_millis(10),
        silence: Duration::from_secs(2),
        newcomer: Duration::from_millis(100),
        ..Pace::default()
    }
}

fn setup(release: Release, apps: Vec<App>) -> Setup {
    let mut setup = Setup::default()
        .with_release(release)
        .with_pace(pace())
        .with_keep_alive(Duration::from_millis(500));
    setup.apps = apps;
    setup
}

/// The apps that every series had.
fn first_apps() -> Vec<App> {
    use Mode::{AdvancedChat, AgentChat, Chat, Completion, Workflow};
    let mut plain = app(Chat, "app-4OGfqOgxJ5qUPcxLHFEQjFJM", Flow::NoModel, "plain-chat");
    plain.description = "d".to_owned();
    vec![
        plain,
        app(AdvancedChat, "app-jhb4kgbjAE7wJD8blSdsz2hm", Flow::Echo, "chatflow-echo"),
        app(Workflow, "app-TX0OLvLFei4XgdEitzbFlgD6", Flow::Echo, "workflow-echo")
            .with_mcp("u1WeaAPJCdCKIHnc", "echo"),
        app(AdvancedChat, "app-TMI61OdwgRLkirJTq018pHpj", Flow::Echo, "off").with_api_disabled(),
        app(AdvancedChat, "app-jZYbA8qFOstiwjSxTSCCEh7u", Flow::Unpublished, "unpublished"),
        app(AgentChat, "app-bulpsRAKvc2eSur6gCwL1hGI", Flow::NoModel, "plain-agent"),
        app(AdvancedChat, "app-huk7MA1RPwNUNNTiYawCfg2J", Flow::Failing, "template"),
        app(AdvancedChat, "app-8YHeLYBcfbglyu3lChcXNHnJ", Flow::Files, "files"),
        app(AdvancedChat, "app-h7mJTIxYrIsyt1lrhFhAIOUD", Flow::Slow, "slow"),
        app(Completion, "app-Fw2YfIxMM6PjMcm2fa4Me9zx", Flow::NoModel, "plain-completion"),
        app(AdvancedChat, "app-kPx2Eh511DRwGwe1uCGuNpkH", Flow::SlowFirst, "slow-first")
            .with_max_active_requests(1),
        app(AgentChat, "app-Z4RmG9a1ggBCuqqzi9OKmXOL", Flow::Llm, "agent"),
        app(Chat, "app-pgIn0V2oqARn21N1cVpAmZfX", Flow::Llm, "chat"),
        app(AdvancedChat, "app-Ll029ykv03rXj82Ecwk3oPMN", Flow::Llm, "chatflow-llm"),
        app(Completion, "app-YlIPbOrumuL4NnCRjlwjty8q", Flow::Llm, "completion"),
        app(Workflow, "app-Qw9lzI18LUz7PvJwxRMHO4E9", Flow::Failing, "workflow-fail"),
        app(Workflow, "app-qDaapZ5REBpF58gjjwp6B1df", Flow::Slow, "workflow-slow"),
    ]
}

fn second_apps() -> Vec<App> {
    use Mode::{AdvancedChat, Chat, Workflow};
    vec![
        app(AdvancedChat, "app-9NzFqPa3Fg4EjQMtTyXb690f", Flow::Slow, "slow"),
        app(AdvancedChat, "app-e1SVxIz6ivKGqGi6zkApk7AV", Flow::Echo, "chatflow-echo"),
        app(AdvancedChat, "app-LIuCkxuzNRlApRzq1ofOR0YA", Flow::Files, "files"),
        app(Workflow, "app-LbsUl9vbUSeGDkZY5P7OsC3r", Flow::Echo, "workflow-echo"),
        app(Chat, "app-SecondInstanceChat000001", Flow::Llm, "chat"),
        app(Workflow, "app-SecondInstanceHuman00001", Flow::HumanInput, "human"),
    ]
}

/// What came with the later series.
fn later_apps() -> Vec<App> {
    use Mode::{AdvancedChat, Chat, Workflow};
    let moderation = |input: Option<&str>, output: Option<&str>| Moderation {
        words: vec!["forbidden".to_owned()],
        input: input.map(str::to_owned),
        output: output.map(str::to_owned),
    };
    let refused = Some("Not allowed.");
    let query = || [Field::new("query", FieldKind::TextInput).required()];
    let second = |app: App| app.with_workspace("b");
    vec![
        app(AdvancedChat, "app-RequiredInput00000000001", Flow::Greeting, "required"),
        app(AdvancedChat, "app-DisabledApi0000000000001", Flow::Echo, "off").with_api_disabled(),
        app(Workflow, "app-WorkflowWithModel0000001", Flow::Llm, "workflow-llm")
            .with_form(query())
            .with_outputs(["text"]),
        app(Chat, "app-AnnotationReplyChat00001", Flow::Llm, "annotated"),
        app(AdvancedChat, "app-AnnotationReplyFlow00001", Flow::Echo, "annotated-flow"),
        app(AdvancedChat, "app-ModeratedChatflow0000001", Flow::Echo, "moderated-flow")
            .with_form([])
            .with_moderation(moderation(refused, None)),
        app(Chat, "app-ModeratedChat00000000001", Flow::Llm, "moderated")
            .with_moderation(moderation(refused, None)),
        app(Chat, "app-ModeratedOutputChat00001", Flow::Llm, "moderated-output")
            .with_moderation(moderation(None, Some("Withdrawn."))),
        app(Workflow, "app-HumanInputWorkflow000001", Flow::HumanInput, "human"),
        app(AdvancedChat, "app-HumanInputChatflow000001", Flow::HumanInput, "human-flow"),
        app(AdvancedChat, "app-OpeningChatflow000000001", Flow::Echo, "opening")
            .with_form([])
            .with_opening("Welcome {{x}}", ["one", "two"]),
        app(AdvancedChat, "app-IterationChatflow00000001", Flow::Iteration, "iteration"),
        app(AdvancedChat, "app-LoopChatflow000000000001", Flow::Loop, "loop"),
        app(AdvancedChat, "app-ParallelChatflow00000001", Flow::Parallel, "parallel"),
        app(Workflow, "app-FailBranchWorkflow000001", Flow::FailBranch, "fail-branch"),
        app(AdvancedChat, "app-DefaultValueChatflow0001", Flow::DefaultValue, "default-value"),
        app(AdvancedChat, "app-RetryChatflow00000000001", Flow::Retry, "retry"),
        second(app(AdvancedChat, "app-SecondTenantChatflow0001", Flow::Echo, "second-echo")),
        second(app(Workflow, "app-SecondTenantWorkflow0001", Flow::Echo, "second-workflow")),
        second(app(Workflow, "app-SecondTenantHuman0000001", Flow::HumanInput, "second-human")),
    ]
}

/// The two instances of 1.5.0.
pub(crate) async fn early() -> Instances {
    let first = setup(Release::V1_5, first_apps());
    let first = first.with_dataset_key("dataset-aU2XFBTT76Nm3c2p2GoXfqCX");
    let second = setup(Release::V1_5, second_apps());
    started([(5001, first), (5002, second)]).await
}

/// The instances of main, the release 1.14.2, 1.13.3 and 1.12.1.
pub(crate) async fn later() -> Instances {
    let all = || first_apps().into_iter().chain(later_apps()).collect::<Vec<_>>();
    let first = setup(Release::Main, all())
        .with_dataset_key("dataset-aU2XFBTT76Nm3c2p2GoXfqCX")
        .with_workspace_key("b", "dataset-SecondTenant00000000000001");
    let second =
        setup(Release::Main, second_apps()).with_dataset_key("dataset-SecondInstance0000000001");
    let mut two_runs = setup(Release::Main, first_apps());
    for app in &mut two_runs.apps {
        app.max_active_requests = app.max_active_requests.map(|_| 2);
    }
    started([
        (5631, first),
        (5641, second.clone()),
        (5651, setup(Release::V1_14, all())),
        (5661, setup(Release::V1_13, all())),
        (5671, setup(Release::V1_12, all())),
        (TWO_RUNS, two_runs),
        (ONE_PLACE, second.with_workers(1)),
    ])
    .await
}

async fn started(setups: impl IntoIterator<Item = (u64, Setup)>) -> Instances {
    let mut instances = Instances::new();
    for (port, setup) in setups {
        instances.insert(port, Dify::start(setup).await.unwrap());
    }
    instances
}
