//! `deploy/kubernetes.yaml`: the container's command runs as a process, with the probes of the kubelet. `tests/all.sh`
//! checks the schemas.

use serde_json::Value;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::cluster::Database;
use crate::dockerfile::Dockerfile;
use crate::process::{Environment, Served};
use crate::read;

fn load() -> Vec<Value> {
    serde_saphyr::from_multiple(&read("deploy/kubernetes.yaml")).unwrap()
}

fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The variables of the container: from the image, the ConfigMap and the secret.
fn environment(objects: &[Value], secret: &str) -> Environment {
    let container = container(the(objects, "Deployment"));
    let config = the(objects, "ConfigMap");
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], config["metadata"]["name"]);
    let mut environment = Dockerfile::load().environment();
    for (name, value) in config["data"].as_object().unwrap() {
        environment.insert(name.clone(), value.as_str().expect("text, as the API wants it").to_owned());
    }
    for variable in container["env"].as_array().unwrap() {
        assert!(variable["valueFrom"]["secretKeyRef"].is_object(), "the manifest holds no secret: {variable}");
        environment.insert(variable["name"].as_str().unwrap().to_owned(), secret.to_owned());
    }
    environment
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_starts_and_passes_each_probe() {
    let Some(database) = Database::create().await else { return };
    let objects = load();
    let container = container(the(&objects, "Deployment"));
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
    let environment = environment(&objects, &database.url());
    let server = Served::start(&Dockerfile::load().command(Some(args)), &environment).await;
    let port = &container["ports"][0]["containerPort"];
    let ready = &container["readinessProbe"]["grpc"];
    assert_eq!(&ready["port"], port);
    assert_eq!(server.health(ready["service"].as_str().unwrap()).await, ServingStatus::Serving);
    // Not gRPC health, which includes the store: an outage of the database must not kill pods.
    for probe in ["startupProbe", "livenessProbe"] {
        let alive = &container[probe]["httpGet"];
        assert_eq!(&alive["port"], port, "{probe}");
        let url = format!("http://{}{}", server.address, alive["path"].as_str().unwrap());
        assert_eq!(reqwest::get(url).await.unwrap().text().await.unwrap(), r#"{"status":"live"}"#, "{probe}");
    }
    server.stop("SIGTERM").await;
}

#[test]
fn the_grace_period_holds_the_pause_and_the_drain() {
    let objects = load();
    let deployment = the(&objects, "Deployment");
    let pause = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let drain_ms: u64 = environment(&objects, "")["RUNLOG_DRAIN_TIMEOUT_MS"].parse().unwrap();
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace * 1_000 > pause * 1_000 + drain_ms, "{grace} s for {pause} s and {drain_ms} ms");
}

#[test]
fn the_pods_meet_the_restricted_security_standard() {
    let objects = load();
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    let (of_pod, of_container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
    assert_eq!((&of_pod["runAsNonRoot"], &of_pod["seccompProfile"]["type"]), (&true.into(), &"RuntimeDefault".into()));
    assert_eq!(of_container["allowPrivilegeEscalation"], false);
    assert_eq!(of_container["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    assert_eq!(of_container["readOnlyRootFilesystem"], true);
    let (user, group) = (of_pod["runAsUser"].to_string(), of_pod["runAsGroup"].to_string());
    assert_eq!(format!("{user}:{group}"), Dockerfile::load().user());
}

#[test]
fn every_selector_finds_the_pods_and_every_port_is_theirs() {
    let objects = load();
    let deployment = the(&objects, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let port = &container(deployment)["ports"][0]["name"];
    let mut services = 0;
    for object in &objects {
        let spec = &object["spec"];
        match object["kind"].as_str().unwrap() {
            "Service" => {
                services += 1;
                assert_eq!((&spec["selector"], &spec["ports"][0]["targetPort"]), (labels, port));
                assert_eq!(spec["ports"][0]["appProtocol"], "kubernetes.io/h2c");
            }
            "NetworkPolicy" => {
                assert_eq!(
                    (&spec["podSelector"]["matchLabels"], &spec["ingress"][0]["ports"][0]["port"]),
                    (labels, port)
                );
            }
            "Deployment" | "PodDisruptionBudget" => assert_eq!(&spec["selector"]["matchLabels"], labels),
            _ => {}
        }
    }
    assert_eq!(services, 2);
}
