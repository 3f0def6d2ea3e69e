package explain

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// dealtRecords are the records of one replica.
type dealtRecords struct {
	knownShop
	log *explainapi.DecisionLog
}

func (r dealtRecords) Log(_ types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error) {
	log := *r.log
	log.Decisions = slices.DeleteFunc(slices.Clone(log.Decisions), func(d explainapi.Decision) bool { return d.Time.Before(since) })
	return &log, nil
}

func (r dealtRecords) Current(types.NamespacedName) (recorder.Current, bool) {
	return recorder.Current{Spec: &r.log.Specs[0].Spec, Status: r.log.Decisions[len(r.log.Decisions)-1].Status, Since: r.log.Source.UnknownBefore}, true
}

// replicaEndpoints are the endpoints of the adapter's Service.
type replicaEndpoints struct {
	servers []*httptest.Server
	gone    []netip.AddrPort // where nothing listens
}

func (e *replicaEndpoints) List(context.Context, metav1.ListOptions) (*discoveryv1.EndpointSliceList, error) {
	list := &discoveryv1.EndpointSliceList{}
	addresses := slices.Clone(e.gone)
	for _, s := range e.servers {
		addresses = append(addresses, addressOfServer(s))
	}
	for _, address := range addresses {
		list.Items = append(list.Items, discoveryv1.EndpointSlice{
			Ports:     []discoveryv1.EndpointPort{{Port: new(int32(address.Port()))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address.Addr().String()}}},
		})
	}
	return list, nil
}

func addressOfServer(s *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "https://"))
}

// serveReplicas serves the parts of a record from real servers, which read one another over HTTPS, and read those that are gone.
func serveReplicas(t *testing.T, logs []*explainapi.DecisionLog, gone ...netip.AddrPort) []*httptest.Server {
	t.Helper()
	all := &replicaEndpoints{gone: gone}
	now := logs[0].Source.Time
	for i, log := range logs {
		server := httptest.NewUnstartedServer(nil)
		peers := peer.New(peer.Options{
			EndpointSlices: all, Service: "tachometer-adapter", ServerName: "example.com", Cluster: &rest.Config{BearerToken: "own"},
			Authorities: func() []byte {
				return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			},
			IsSelf:  func(a netip.AddrPort) bool { return a == addressOfServer(server) },
			Timeout: time.Hour, // a busy machine takes its time
		})
		server.Config.Handler = newUnauthenticatedHandler(t, New(Deps{
			Records: dealtRecords{log: log}, Peers: peers, Discovery: knownShop{}, Scrapes: knownShop{}, Replica: "adapter-" + string(rune('1'+i)),
			Families: func(string, string, bool) []string { return nil }, Now: func() time.Time { return now },
		}))
		server.StartTLS()
		t.Cleanup(server.Close)
		all.servers = append(all.servers, server)
	}
	return all.servers
}

func readReplica(t *testing.T, s *httptest.Server, path string, out any) {
	t.Helper()
	response, err := s.Client().Get(s.URL + apiPath + "/namespaces/shop/horizontalpodautoscalers/web" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

// TestReplicasTellOneTruth: whichever replica answers, the log and the explanation have the reads of all.
func TestReplicasTellOneTruth(t *testing.T) {
	t.Parallel()
	whole := newWholeLog()
	servers := serveReplicas(t, dealLog(newWholeLog(), 2, func(look int) int { return look % 2 }))
	want := explain.NewLog(whole).Decisions
	for i, s := range servers {
		log := &explainapi.DecisionLog{}
		readReplica(t, s, "/decisions", log)
		log.Complete()
		if diff := cmp.Diff(want, explain.NewLog(log).Decisions, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
			t.Errorf("replica %d (-whole +answered):\n%s", i, diff)
		}
		if names := log.Source.Recorders(); len(names) != 2 || len(log.Source.Replicas) != 2 || !log.Source.UnknownBefore.Equal(replaytest.Begin) {
			t.Errorf("source %+v", log.Source)
		}
		readReplica(t, s, "/decisions?since=1m", log)
		for _, d := range log.Decisions {
			if d.Time.Before(log.Source.Time.Add(-time.Minute)) {
				t.Errorf("a decision of %s in the last minute before %s", d.Time, log.Source.Time)
			}
		}
		own := &explainapi.DecisionLog{}
		readReplica(t, s, "/decisions?scope=replica", own)
		if reads := countReads(own); reads != (countReads(whole)+1-i)/2 || own.Source.Replicas != nil {
			t.Errorf("the replica's own record has %d reads of %d", reads, countReads(whole))
		}
		e := &explainapi.Explanation{}
		readReplica(t, s, "", e)
		looks := replay.Reproduce(whole, replay.Settings())
		if e.Computed == nil || e.Computed.Replicas != looks[len(looks)-1].Computed || e.Latest == nil || len(e.Latest.Reads) == 0 {
			t.Errorf("replica %d explains %+v, latest %+v", i, e.Computed, e.Latest)
		}
	}
}

func countReads(log *explainapi.DecisionLog) int {
	reads := 0
	for _, d := range log.Decisions {
		reads += len(d.Reads)
	}
	return reads
}

// TestReplicaThatIsGone: an answer without a replica's part says so.
func TestReplicaThatIsGone(t *testing.T) {
	t.Parallel()
	gone := netip.MustParseAddrPort("127.0.0.1:1")
	servers := serveReplicas(t, dealLog(newWholeLog(), 2, func(look int) int { return look % 2 })[:1], gone)
	log := &explainapi.DecisionLog{}
	readReplica(t, servers[0], "/decisions", log)
	if r := log.Source.Replicas; len(r) != 2 || r[1].Name != gone.String() || !strings.Contains(r[1].Error, "connection refused") || len(log.Source.Recorders()) != 1 {
		t.Errorf("replicas %+v", r)
	}
}
