import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** A server as the JDK has it. On TERM the JVM runs its shutdown hooks and exits with 143 (128 + 15), by itself. */
class Server {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 0);
    server.createContext("/", exchange -> {
      exchange.sendResponseHeaders(200, 6);
      exchange.getResponseBody().write("ready\n".getBytes());
      exchange.close();
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(0)));
    server.start();
    System.out.println("ready");
  }
}
