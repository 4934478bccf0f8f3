package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/invectd/invectd/plugins/protocol"
)

const (
	startTimeout = 5 * time.Second
	callTimeout  = 5 * time.Second
)

// A process is a plugin that runs and answers.
type process struct {
	client   *plugin.Client
	command  *command
	provider protocol.ProviderClient
	health   grpc_health_v1.HealthClient
	log      *printed
	hung     chan struct{} // closed by giveUp
	giveUp   func()        // may be called more than once
	// calls are those under way. They begin while the process is the one that
	// answers, so none does once another has taken its place.
	calls sync.WaitGroup
}

// start runs an image and shakes hands with it. scratch is the folder in which
// go-plugin makes the plugin's own, and removes it in the end.
func start(name string, img *image, scratch string, log *printed) (*process, error) {
	p := &process{hung: make(chan struct{}), log: log}
	p.giveUp = sync.OnceFunc(func() { close(p.hung) })
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  protocol.Version,
			MagicCookieKey:   protocol.CookieKey,
			MagicCookieValue: protocol.CookieValue,
		},
		Plugins:          plugin.PluginSet{protocol.Service: &clientPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startTimeout,
		Logger:           hclog.NewNullLogger(),
		// What programs that serve by go-plugin print does not come as their output,
		// but over the connection.
		SyncStdout:       log,
		SyncStderr:       log,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: scratch},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(protocol.MaxMessage), grpc.MaxCallSendMsgSize(protocol.MaxMessage),
		)},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (_ runner.Runner, err error) {
			if os.Geteuid() == 0 {
				if err := os.Chown(socketDir, nobody, nobody); err != nil {
					return nil, err
				}
			}
			p.command, err = newCommand(name, img, socketDir, cmd.Env, log)
			return p.command, err
		},
	})
	if err := p.shakeHands(); err != nil {
		p.stop()
		return nil, p.whyNot(err)
	}
	return p, nil
}

// whyNot tells why there was no handshake. go-plugin's own words repeat what the
// plugin printed.
func (p *process) whyNot(err error) error {
	switch {
	case p.command == nil || p.command.cmd.ProcessState == nil:
		return err
	case strings.Contains(err.Error(), "timeout"):
		return fmt.Errorf("it printed no handshake within %s", startTimeout)
	case strings.Contains(err.Error(), "incompatible"):
		return fmt.Errorf("it speaks another version of the protocol than %d: build it with another sdk", protocol.Version)
	}
	return fmt.Errorf("it is no plugin, or failed before its handshake (%s); what it printed is in the log", p.command.state())
}

func (p *process) shakeHands() error {
	protocolClient, err := p.client.Client()
	if err != nil {
		return err
	}
	dispensed, err := protocolClient.Dispense(protocol.Service)
	if err != nil {
		return err
	}
	conn := dispensed.(*grpc.ClientConn)
	p.provider = protocol.NewProviderClient(conn)
	p.health = grpc_health_v1.NewHealthClient(conn)
	return nil
}

// stop ends the process and removes what it left. A plugin keeps nothing that it
// would have to save, so that it is not asked: one that hangs would not answer.
func (p *process) stop() {
	if p.command != nil {
		_ = p.command.Kill(context.Background())
	}
	p.client.Kill()
}

// alive asks whether the plugin still answers.
func (p *process) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := p.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if status := answer.GetStatus(); status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it says that it is %s", status)
	}
	return nil
}

// clientPlugin hands the connection out of go-plugin.
type clientPlugin struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCClient implements [plugin.GRPCPlugin].
func (*clientPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// GRPCServer implements [plugin.GRPCPlugin]. It is the plugin's side.
func (*clientPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the daemon serves no plugin")
}
