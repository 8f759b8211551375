package deploy_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEverythingIsInTheNamespace(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		spaces := all[*corev1.Namespace](r)
		if len(spaces) != 1 || spaces[0].Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Fatalf("namespaces: %v; want one that enforces the restricted standard", spaces)
		}
		for _, o := range r.objects {
			if _, ok := o.(*corev1.Namespace); !ok && o.(metav1.Object).GetNamespace() != spaces[0].Name {
				t.Errorf("%s is in namespace %q", objectName(o), o.(metav1.Object).GetNamespace())
			}
		}
	})
}

func TestContainerPortsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.servers() {
			want := c.program.ports(t, r.environment(t, c))
			if diff := cmp.Diff(want, containerPorts(c.Container)); diff != "" {
				t.Errorf("%s: ports (- code, + manifest):\n%s", c.where, diff)
			}
			notes := c.workload.template.Annotations
			if notes["prometheus.io/scrape"] != "true" || notes["prometheus.io/port"] != strconv.Itoa(want["ops"]) || notes["prometheus.io/path"] != "/metrics" {
				t.Errorf("%s: Prometheus is sent to %v, want port %d", c.where, notes, want["ops"])
			}
		}
	})
}

func containerPorts(c corev1.Container) map[string]int {
	out := map[string]int{}
	for _, p := range c.Ports {
		out[p.Name] = int(p.ContainerPort)
	}
	return out
}

func TestProbesAskTheOpsPort(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.servers() {
			checkProbe(t, c.where+", liveness", c.LivenessProbe, "/livez")
			checkProbe(t, c.where+", readiness", c.ReadinessProbe, "/readyz")
		}
	})
}

func checkProbe(t *testing.T, where string, p *corev1.Probe, path string) {
	t.Helper()
	if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path || p.HTTPGet.Port.StrVal != "ops" {
		t.Errorf("%s: %v; want %s on port ops", where, p, path)
	}
}

func TestStoresSayWhenTheyAreReady(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.containers() {
			if !c.ours && c.ReadinessProbe == nil {
				t.Errorf("%s has no readiness probe", c.where)
			}
		}
	})
}

func TestPodsHaveNoPrivileges(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, w := range r.workloads {
			s, pod := w.template.Spec.SecurityContext, w.template.Spec
			if s == nil || !isTrue(s.RunAsNonRoot) || s.RunAsUser == nil || *s.RunAsUser == 0 ||
				s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: security context %v", w.name, s)
			}
			if !isFalse(pod.AutomountServiceAccountToken) || !isFalse(pod.EnableServiceLinks) || pod.HostNetwork || pod.HostPID || pod.HostIPC {
				t.Errorf("%s: its pods get more from the cluster than they need", w.name)
			}
		}
		for _, c := range r.containers() {
			s := c.SecurityContext
			if s == nil || !isFalse(s.AllowPrivilegeEscalation) || !isTrue(s.ReadOnlyRootFilesystem) || s.Privileged != nil ||
				s.RunAsUser != nil || s.RunAsNonRoot != nil || s.SeccompProfile != nil || s.Capabilities == nil ||
				s.Capabilities.Add != nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: security context %v", c.where, s)
			}
		}
	})
}

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

func TestPodsSayWhatTheyNeed(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.containers() {
			limit := c.Resources.Limits.Memory()
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || limit.IsZero() {
				t.Errorf("%s: resources %v", c.where, c.Resources)
			}
			if c.ours {
				checkMemory(t, c, r.environment(t, c), limit)
			}
		}
	})
}

// checkMemory checks that a pod is not killed for what its settings allow it.
func checkMemory(t *testing.T, c container, env map[string]string, limit *resource.Quantity) {
	t.Helper()
	goal, err := resource.ParseQuantity(strings.TrimSuffix(env["GOMEMLIMIT"], "B"))
	if err != nil || goal.Cmp(*limit) >= 0 {
		t.Errorf("%s: GOMEMLIMIT is %q (%v), the pod's limit %v", c.where, env["GOMEMLIMIT"], err, limit)
	}
	workers, ok := c.program.setting("ARGON2_WORKERS", env)
	if !ok {
		return
	}
	each, _ := c.program.setting("ARGON2_MEMORY_KIB", env)
	if total := number(t, workers) * number(t, each) << 10; total == 0 || total > limit.Value()/2 {
		t.Errorf("%s: %s pins at once of %s KiB each, the pod's limit is %v; want no more than half of it", c.where, workers, each, limit)
	}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRolloutsNeverTakeAPodAwayTooSoon(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.servers() {
			d, ok := named[*appsv1.Deployment](r, c.program.name)
			if !ok {
				t.Errorf("there is no deployment %s", c.program.name)
				continue
			}
			rolling := d.Spec.Strategy.RollingUpdate
			if c.workload.replicas < 2 || rolling == nil || rolling.MaxUnavailable.String() != "0" || rolling.MaxSurge.String() == "0" {
				t.Errorf("%s: %d replicas, strategy %v", c.where, c.workload.replicas, d.Spec.Strategy)
			}
			grace, need := graceOf(c.workload), c.program.stopsWithin(t, r.environment(t, c))
			if grace < need {
				t.Errorf("%s: is killed after %v, may need %v to stop", c.where, grace, need)
			}
			checkSpread(t, c.workload)
		}
	})
}

func graceOf(w workload) time.Duration {
	if s := w.template.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

func checkSpread(t *testing.T, w workload) {
	t.Helper()
	var keys []string
	for _, s := range w.template.Spec.TopologySpreadConstraints {
		keys = append(keys, s.TopologyKey)
		if !matches(t, s.LabelSelector, w.template.Labels) {
			t.Errorf("%s: spreads other pods than its own", w.name)
		}
	}
	if !slices.Contains(keys, corev1.LabelHostname) {
		t.Errorf("%s: its pods are spread over %v, want hosts", w.name, keys)
	}
}

func TestSelectorsSelectThePodsTheyMean(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, w := range r.workloads {
			if got := r.selected(t, w.selector); len(got) != 1 || got[0].name != w.name {
				t.Errorf("%s selects the pods of %d workloads", w.name, len(got))
			}
		}
		protected := map[string]bool{}
		for _, b := range all[*policyv1.PodDisruptionBudget](r) {
			if w, ok := r.only(t, objectName(b), b.Spec.Selector.MatchLabels); ok {
				protected[w.meta.Name] = b.Spec.MaxUnavailable != nil && b.Spec.MaxUnavailable.IntVal == 1
			}
		}
		for _, p := range programs {
			if !protected[p.name] {
				t.Errorf("no budget keeps a node's drain from taking all of %s", p.name)
			}
		}
	})
}

func TestServicesLeadToPorts(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, s := range all[*corev1.Service](r) {
			w, ok := r.only(t, objectName(s), s.Spec.Selector)
			if !ok {
				continue
			}
			ports := containerPorts(w.template.Spec.Containers[0])
			for _, p := range s.Spec.Ports {
				target, has := ports[p.TargetPort.StrVal]
				if !has || p.Name != p.TargetPort.StrVal || int(p.Port) != target {
					t.Errorf("%s: port %s %d leads to %s %d", objectName(s), p.Name, p.Port, p.TargetPort.String(), target)
				}
			}
			if len(s.Spec.Ports) != len(ports) {
				t.Errorf("%s has %d ports, its pods have %d", objectName(s), len(s.Spec.Ports), len(ports))
			}
		}
		for _, p := range programs {
			if _, ok := named[*corev1.Service](r, p.name); !ok {
				t.Errorf("there is no service %s", p.name)
			}
		}
	})
}

func TestIngressSendsSocketsToGatewaysAndRESTToTheServices(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		routes := map[string]string{}
		for _, i := range all[*networkingv1.Ingress](r) {
			for _, rule := range i.Spec.Rules {
				for _, p := range rule.HTTP.Paths {
					b := p.Backend.Service
					routes[fmt.Sprintf("%s %s", *p.PathType, p.Path)] = b.Name + ":" + b.Port.Name
					if s, ok := named[*corev1.Service](r, b.Name); !ok || !hasPort(s, b.Port.Name) {
						t.Errorf("%s: there is no service %s with port %s", objectName(i), b.Name, b.Port.Name)
					}
				}
			}
		}
		want := map[string]string{
			"Prefix /": "gateway:public", "Exact /get_user": "accounts:public",
			"Prefix /accounts": "accounts:public", "Prefix /social": "social:public",
		}
		if !maps.Equal(routes, want) {
			t.Errorf("routes %v, want %v", routes, want)
		}
	})
}

func hasPort(s *corev1.Service, name string) bool {
	return slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == name })
}

func TestOverlaysPinTheirImages(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.containers() {
			_, tag, tagged := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
			inBase := r.name == "base" && c.ours // overlays give the tag
			if tagged == inBase || tag == "latest" {
				t.Errorf("%s: image %s", c.where, c.Image)
			}
		}
	})
}

func TestScriptsForContainersMayBeRun(t *testing.T) {
	t.Parallel()
	w, ok := render(t, manifests+"/overlays/local").only(t, "postgres", map[string]string{"app.kubernetes.io/name": "postgres"})
	if !ok {
		return
	}
	for _, v := range w.template.Spec.Volumes {
		if v.ConfigMap != nil && (v.ConfigMap.DefaultMode == nil || *v.ConfigMap.DefaultMode&0o111 == 0) {
			t.Errorf("volume %s: mode %v; Postgres would read the script into its own shell", v.Name, v.ConfigMap.DefaultMode)
		}
	}
}
