# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of the original's shell, as far as its wire goes: messages with no field of ours, and
none of the later ones for a peer of 2018.
Source: platform2 3050786c, vm_tools/proto/vsh.proto, vm_tools/vsh/vsh_client.cc and
vshd_forwarder.cc."""
import pathlib
import socket
import struct
import subprocess
import sys

PROTO = """
syntax = "proto3";
package original;
message SetupConnectionRequest {
  string target = 1;
  string user = 2;
  map<string, string> env = 3;
  string command = 4;
  repeated string argv = 5;
  int32 window_rows = 6;
  int32 window_cols = 7;
  bool nopty = 8;
  string cwd = 9;
  int32 cwd_pid = 10;
}
message SetupConnectionResponse { int32 status = 1; string description = 2; int32 pid = 3; }
message ConnectionStatusMessage { int32 status = 1; string description = 2; sint32 code = 3; }
message DataMessage { int32 stream = 1; bytes data = 2; }
message WindowResizeMessage { int32 rows = 1; int32 cols = 2; }
message HostMessage {
  oneof msg {
    DataMessage data_message = 1;
    ConnectionStatusMessage status_message = 2;
  }
}
message GuestMessage {
  oneof msg {
    DataMessage data_message = 1;
    ConnectionStatusMessage status_message = 2;
    WindowResizeMessage resize_message = 3;
    int32 signal = 4;
  }
}
"""
READY, EXITED, FAILED = 1, 2, 3
STDIN, STDOUT, STDERR = 1, 2, 3
BODY_MAX = 4096
VM = "/vm_shell"


def messages(folder):
    """The module with the original's messages, generated below folder."""
    path = pathlib.Path(folder) / "original_wire.proto"
    path.write_text(PROTO)
    subprocess.run(["protoc", f"--python_out={folder}", "-I", folder, path], check=True)
    sys.path.insert(0, str(folder))
    import original_wire_pb2
    return original_wire_pb2


class Peer:
    """Frames of the original over a connected socket."""

    def __init__(self, sock, pb):
        self.sock, self.pb = sock, pb

    def send(self, message):
        body = message.SerializeToString()
        assert len(body) <= BODY_MAX
        self.sock.sendall(struct.pack("<I", len(body)) + body)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                return None
            data += more
        return data

    def receive(self, kind):
        """One message without any field that the original does not know; None at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        size = struct.unpack("<I", head)[0]
        assert size <= BODY_MAX, f"a frame of {size} bytes"
        body = self._exactly(size)
        message = kind.FromString(body)
        # Unknown fields are kept by the parser and counted here.
        known = type(message).FromString(body)
        known.DiscardUnknownFields()
        self.strange = len(body) - known.ByteSize()
        return message


class Client(Peer):
    """The original's vsh."""

    def request(self, *argv, **fields):
        """Ask; the response."""
        env = fields.pop("env", {})
        fields.setdefault("target", VM)
        request = self.pb.SetupConnectionRequest(argv=argv, **fields)
        request.env.update(env)
        self.send(request)
        return self.receive(self.pb.SetupConnectionResponse)

    def stdin(self, data):
        message = self.pb.GuestMessage()
        message.data_message.stream = STDIN
        message.data_message.data = data
        self.send(message)

    def signal(self, number):
        self.send(self.pb.GuestMessage(signal=number))

    def resize(self, rows, cols):
        message = self.pb.GuestMessage()
        message.resize_message.rows = rows
        message.resize_message.cols = cols
        self.send(message)

    def output(self):
        """Everything until the exit: stdout, stderr, the streams closed, the exit code."""
        data, closed = {STDOUT: b"", STDERR: b""}, []
        while True:
            message = self.receive(self.pb.HostMessage)
            assert message is not None, "the connection ended before the session"
            if message.HasField("status_message"):
                assert message.status_message.status == EXITED
                return data[STDOUT], data[STDERR], closed, message.status_message.code
            piece = message.data_message
            if not piece.data:
                closed.append(piece.stream)
            data[piece.stream] += piece.data


def connect(path, pb, timeout):
    """The original's vsh on the unix socket of a vshd."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(str(path))
    return Client(sock, pb)


class Server(Peer):
    """The original's vshd, for one session; the test says what its command does."""

    def __init__(self, listener, pb, timeout):
        sock, _ = listener.accept()
        sock.settimeout(timeout)
        super().__init__(sock, pb)
        self.asked = self.receive(pb.SetupConnectionRequest)

    def answer(self, status=READY, description="vsh ready", pid=300):
        self.send(self.pb.SetupConnectionResponse(status=status, description=description,
                                                  pid=pid))

    def data(self, stream, data):
        message = self.pb.HostMessage()
        message.data_message.stream = stream
        message.data_message.data = data
        self.send(message)

    def exited(self, code, status=EXITED):
        message = self.pb.HostMessage()
        message.status_message.status = status
        message.status_message.description = "child exited"
        message.status_message.code = code
        self.send(message)

    def guest(self):
        return self.receive(self.pb.GuestMessage)
