import java.rmi.RemoteException;
import java.rmi.registry.LocateRegistry;
import java.rmi.registry.Registry;
import java.rmi.server.UnicastRemoteObject;
import java.util.HashSet;
import java.util.Set;

/** java -Djava.rmi.server.hostname=HOST Server ADDRESS REGISTRY-PORT OBJECT-PORT; ends with its standard input. */
public class Server implements Counter {
    private final Set<Integer> numbers = new HashSet<>();
    private int calls;

    @Override
    public int count(int number, Listener listener) throws RemoteException {
        int count;
        synchronized (this) {
            numbers.add(number);
            count = ++calls;
        }
        if (number % 10 == 0) {
            listener.counted(number);
        }
        return count;
    }

    @Override
    public synchronized String report() {
        return "calls " + calls + ", numbers " + numbers.size();
    }

    public static void main(String[] args) throws Exception {
        Site site = Site.at(args[0]);
        Registry registry = LocateRegistry.createRegistry(Integer.parseInt(args[1]), null, site);
        // A port of its own choice, or nobody could know which to map.
        int port = Integer.parseInt(args[2]);
        registry.rebind("counter", UnicastRemoteObject.exportObject(new Server(), port, null, site));
        System.out.println("serving");
        System.in.read();
        System.exit(0);
    }
}
