package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const monitoringGroup = "monitoring.coreos.com"

// serviceMonitor and prometheusRule are what we use of the Prometheus Operator's
// types.
type serviceMonitor struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		JobLabel  string               `json:"jobLabel"`
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

type prometheusRule struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            ruleFile          `json:"spec"`
}

// ruleFile is what Prometheus reads.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// addMonitoring decodes strictly what is for the Prometheus Operator.
func (r *rendering) addMonitoring(t *testing.T, kind string, text []byte) {
	t.Helper()
	switch kind {
	case "ServiceMonitor":
		var m serviceMonitor
		if err := yaml.UnmarshalStrict(text, &m); err != nil {
			t.Fatal(err)
		}
		r.monitors = append(r.monitors, m)
	case "PrometheusRule":
		var rule prometheusRule
		if err := yaml.UnmarshalStrict(text, &rule); err != nil {
			t.Fatal(err)
		}
		r.rules = append(r.rules, rule)
	default:
		t.Fatalf("a %s is not expected", kind)
	}
}

func TestInProductionPrometheusFindsEveryServiceAndItsAlerts(t *testing.T) {
	t.Parallel()
	r := render(t, manifests+"/overlays/production")
	seen := map[string]bool{}
	for _, m := range r.monitors {
		for _, s := range all[*corev1.Service](r) {
			if !matches(t, &m.Spec.Selector, s.Labels) {
				continue
			}
			job := s.Labels[m.Spec.JobLabel]
			seen[job] = true
			if _, ours := programNamed(job); !ours || len(m.Spec.Endpoints) != 1 || m.Spec.Endpoints[0].Path != "/metrics" || !hasPort(s, m.Spec.Endpoints[0].Port) {
				t.Errorf("%s leads to %s as job %q", m.Metadata.Name, s.Name, job)
			}
			if m.Spec.Endpoints[0].Port != "ops" || m.Metadata.Namespace != s.Namespace {
				t.Errorf("%s asks port %s in namespace %s", m.Metadata.Name, m.Spec.Endpoints[0].Port, m.Metadata.Namespace)
			}
		}
	}
	if len(seen) != len(programs) {
		t.Errorf("jobs %v", seen)
	}
	var want ruleFile
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy/prometheus/rules.yml")), &want); err != nil {
		t.Fatal(err)
	}
	if len(r.rules) != 1 || len(want.Groups) == 0 {
		t.Fatalf("%d PrometheusRules", len(r.rules))
	}
	if diff := cmp.Diff(want, r.rules[0].Spec); diff != "" {
		t.Errorf("other rules than those that are tested (-rules.yml +manifest):\n%s", diff)
	}
	boards, ok := named[*corev1.ConfigMap](r, "pymessage-dashboards")
	if !ok || len(boards.Data) != 4 || boards.Labels["grafana_dashboard"] == "" {
		t.Error("the dashboards are missing")
	}
}

func TestInProductionAutoscalersDecide(t *testing.T) {
	t.Parallel()
	r := render(t, manifests+"/overlays/production")
	for _, p := range programs {
		hpa, ok := named[*autoscalingv2.HorizontalPodAutoscaler](r, p.name)
		deployment, has := named[*appsv1.Deployment](r, p.name)
		if !ok || !has {
			t.Errorf("%s has no autoscaler, or is none", p.name)
			continue
		}
		ref := hpa.Spec.ScaleTargetRef
		if ref.Name != p.name || ref.Kind != "Deployment" || deployment.Spec.Replicas != nil || *hpa.Spec.MinReplicas < 2 || hpa.Spec.MaxReplicas <= *hpa.Spec.MinReplicas {
			t.Errorf("%s: %d to %d replicas of %s, and the deployment says %v", p.name, *hpa.Spec.MinReplicas, hpa.Spec.MaxReplicas, ref.Name, deployment.Spec.Replicas)
		}
		down := hpa.Spec.Behavior.ScaleDown
		calm := 10 * time.Minute
		if p.name == "gateway" {
			calm = 30 * time.Minute
			if !slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Pods != nil && isGatewayMetric(t, m.Pods.Metric.Name) }) {
				t.Error("gateways do not grow by their sockets")
			}
			if len(down.Policies) != 1 || down.Policies[0].Type != autoscalingv2.PodsScalingPolicy || down.Policies[0].Value != 1 {
				t.Errorf("several gateways go at once: %v", down.Policies)
			}
		}
		if got := time.Duration(*down.StabilizationWindowSeconds) * time.Second; got < calm {
			t.Errorf("%s shrinks after %v, want %v of calm", p.name, got, calm)
		}
	}
}

// isGatewayMetric looks the name up in the documentation, which is held to the code.
func isGatewayMetric(t *testing.T, name string) bool {
	t.Helper()
	return strings.HasPrefix(name, "pymessage_gateway_") && strings.Contains(read(t, "docs/operations.md"), "| `"+name+"` |")
}
